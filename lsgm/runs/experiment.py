"""One config as objects, checked before anything is compiled."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from lsgm.config import ConfigError, build, check_name, nearest, plain
from lsgm.data.errors import DataError
from lsgm.data.pipeline import Data
from lsgm.evaluation.settings import Evaluation
from lsgm.features.classifier import check_weights
from lsgm.model import LatentModel
from lsgm.streams import check_seed
from lsgm.training.stage import Stage
from lsgm.vae import VAE

# Folders beside those of the stages, of what commands write there.
TAKEN = ("explore", "parts", "samples")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """Data, a VAE, and the stages that train it and its prior.

    Attributes:
      stage_order: names of the stages in the order in which they run; each
        continues from the parameters of the one before.
    """

    seed: int
    data: Data
    vae: VAE
    stages: dict[str, Stage]
    stage_order: tuple[str, ...]
    evaluation: Evaluation


def from_config(config: Mapping[str, Any] | ConfigDict) -> Experiment:
    """Check a config, build what it names, and see that it can be trained here.

    Raises:
      ConfigError: names the key, the value, and what is allowed.
      lsgm.features.weights_file.WeightsError: weights of the feature extractor
        that the run will need are missing or are not those that it records.
    """
    experiment = described(config)
    _check_devices(experiment)
    _check_weights(experiment)
    check_data(experiment)
    return experiment


def described(config: Mapping[str, Any] | ConfigDict) -> Experiment:
    """Check a config and build what it names, whatever data and devices are here.

    Raises:
      ConfigError: names the key, the value, and what is allowed.
    """
    spec = {"target": "lsgm.runs.experiment:Experiment", **plain(config)}
    experiment = build(spec)
    _check_seed(experiment)
    _check_stages(experiment)
    _check_measures(experiment)
    _check_data_shape(experiment)
    return experiment


def _check_seed(experiment: Experiment) -> None:
    try:
        check_seed(experiment.seed)
    except ValueError as error:
        message = str(error).partition(": ")[2]
        raise ConfigError("seed", experiment.seed, message) from error


def _check_stages(experiment: Experiment) -> None:
    order = experiment.stage_order
    for name in experiment.stages:
        check_name("stages", name)
        if name in TAKEN:
            message = f"a run's folder has other contents under {', '.join(TAKEN)}"
            raise ConfigError("stages", name, f"{message}; choose another name")
    for index, name in enumerate(order):
        if name not in experiment.stages:
            raise ConfigError("stage_order", name, nearest(name, experiment.stages))
        if name in order[:index]:
            raise ConfigError("stage_order", order, f"{name!r} is there twice")
    if not order:
        raise ConfigError("stage_order", (), "name at least one stage")
    for name, stage in experiment.stages.items():
        if stage.keep_best and experiment.evaluation.extractor is None:
            message = "needs evaluation.extractor, by which samples are judged"
            raise ConfigError(f"stages.{name}.keep_best", True, message)
    _check_trained(experiment)


def _check_trained(experiment: Experiment) -> None:
    """Refuse a stage that uses parameters which nothing has trained."""
    trained: set[str] = set()
    for name in experiment.stage_order:
        stage = experiment.stages[name]
        trained = (trained - set(stage.fresh)) | set(stage.optimizers)
        for group in ("vae", *stage.prior.groups):
            if group not in trained and _has_parameters(experiment.vae, stage, group):
                raise ConfigError(
                    f"stages.{name}.optimizers",
                    tuple(stage.optimizers),
                    f"the group {group!r} has parameters that no stage up to here "
                    "trains; give it an optimizer here or in an earlier stage",
                )


def _has_parameters(vae: VAE, stage: Stage, group: str) -> bool:
    """By shape evaluation, which a group that is trained does not need."""
    model = LatentModel(vae=vae, prior=stage.prior)
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    return bool(jax.tree.leaves(params[group]))


def _check_measures(experiment: Experiment) -> None:
    settings = experiment.evaluation
    for index, measure in enumerate(settings.measures):
        key = f"evaluation.measures.{index}"
        check_name(f"{key}.name", measure.name)
        if measure.name in [other.name for other in settings.measures[:index]]:
            message = f"another measure before it is named {measure.name!r} too"
            raise ConfigError(key, measure, message)
        if measure.needs.extractor and settings.extractor is None:
            message = f"needed by {measure.name!r}, {key}; name one, or leave it out"
            raise ConfigError("evaluation.extractor", None, message)


def _check_devices(experiment: Experiment) -> None:
    devices = jax.device_count()
    for name, stage in experiment.stages.items():
        if stage.batch_size % devices:
            raise ConfigError(
                f"stages.{name}.batch_size",
                stage.batch_size,
                f"must be divisible by the number of devices, {devices}",
            )


def _check_weights(experiment: Experiment) -> None:
    settings = experiment.evaluation
    judged = any(stage.keep_best for stage in experiment.stages.values())
    if settings.extractor is not None and (judged or settings.ledger is not None):
        check_weights(settings.extractor)


def _check_data_shape(experiment: Experiment) -> None:
    data, vae = experiment.data, experiment.vae
    if tuple(data.data_shape) != tuple(vae.data_shape):
        raise ConfigError(
            "vae.data_shape",
            vae.data_shape,
            f"must equal the shape of config.data, {data.data_shape}",
        )
    if data.num_bits != vae.likelihood.num_bits:
        raise ConfigError(
            "data.num_bits",
            data.num_bits,
            f"must equal vae.likelihood.num_bits, {vae.likelihood.num_bits}",
        )
    if data.max_level is not None and data.max_level != vae.likelihood.max_level:
        raise ConfigError(
            "vae.likelihood",
            type(vae.likelihood).__name__,
            f"has levels 0 .. {vae.likelihood.max_level}, and config.data has 0 .. "
            f"{data.max_level}",
        )
    ours, theirs = (getattr(piece, "allowed", ()) for piece in (data, vae.likelihood))
    if ours != theirs:
        message = f"must equal data.allowed, {ours}"
        raise ConfigError("vae.likelihood.allowed", theirs, message)


@contextlib.contextmanager
def name_data_keys(data: Data) -> Iterator[None]:
    """Turn errors of ``data`` in the block into errors of their config.

    Raises:
      ConfigError: for a DataError; names the key.
    """
    try:
        yield
    except DataError as error:
        key = error.argument
        if key in {field.name for field in dataclasses.fields(data)}:
            key = f"data.{key}"
        elif key == "split":
            key = "data.source" if hasattr(data, "source") else "data"
        elif hasattr(getattr(data, "source", None), key):
            key = f"data.source.{key}"
        raise ConfigError(key, error.value, error.reason) from error


def check_data(experiment: Experiment) -> None:
    """Open the data: splits exist, and hold what is asked of them.

    Raises:
      ConfigError: they do not.
    """
    with name_data_keys(experiment.data):
        _check_splits(experiment)


def _check_splits(experiment: Experiment) -> None:
    data, settings = experiment.data, experiment.evaluation
    size = data.num_examples("train")
    for name, stage in experiment.stages.items():
        if stage.batch_size > size:
            raise ConfigError(
                f"stages.{name}.batch_size",
                stage.batch_size,
                f"must not exceed the train split's {size} examples",
            )
    fields = ["split", "monitor_split", "reference_split", "baseline_split"]
    if any(stage.keep_best for stage in experiment.stages.values()):
        fields.append("selection_split")
    for field in fields:
        split = getattr(settings, field)
        if split is not None and split not in data.splits():
            raise ConfigError(
                f"evaluation.{field}", split, nearest(split, data.splits())
            )
    for field, num, split in (
        ("monitor_examples", settings.monitor_examples, settings.monitor_split),
        *(
            (f"measures.{i}.num_examples", m.needs.num_examples, settings.split)
            for i, m in enumerate(settings.measures)
        ),
    ):
        held = data.num_examples(split)
        if num is not None and num > held:
            raise ConfigError(
                f"evaluation.{field}", num, f"split {split!r} holds {held}"
            )


def check_extractor(experiment: Experiment) -> None:
    """Open the extractor's weights, and the file of the reference, if there is one.

    Raises:
      ConfigError: the file does not fit.
      lsgm.features.weights_file.WeightsError: the weights are not those that the
        extractor records.
    """
    settings = experiment.evaluation
    if settings.extractor is None:
        return
    check_weights(settings.extractor)
    if settings.reference is not None:
        settings.reference_statistics(experiment.data)

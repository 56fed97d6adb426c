"""From a checkpoint's path to a model that samples and evaluates."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lsgm.config import plain
from lsgm.evaluation import evaluate, provenance
from lsgm.evaluation.subject import Subject
from lsgm.locks import lock_file
from lsgm.model import LatentModel
from lsgm.runs import experiment as experiments
from lsgm.runs.experiment import Experiment
from lsgm.runs.stored import resolve
from lsgm.training import checkpoints
from lsgm.typing import Params


class Restored(NamedTuple):
    """A trained model and where it came from.

    Attributes:
      model: VAE and prior of the checkpoint's stage.
      params: by group; averaged ones where the run kept an average, unless raw
        ones were asked for.
      mutables: by group.
      experiment: the whole experiment, its data and evaluation settings.
      stage, step: which stage, after how many updates.
      folder: the checkpoint itself.
      average: whether averaged parameters were taken.
      meta: what the checkpoint says of itself (versions, and the config that the
        experiment was built from).
    """

    model: LatentModel
    params: Params
    mutables: Params
    experiment: Experiment
    stage: str
    step: int
    folder: pathlib.Path
    average: bool
    meta: dict[str, Any]


LOCK = "evaluate.lock"
MEASURED_BY = ("data", "evaluation")


def restore(
    path: pathlib.Path,
    *,
    average: bool = True,
    config: Mapping[str, Any] | ConfigDict | None = None,
) -> Restored:
    """Build the model that a checkpoint describes and read its parameters.

    The data that it was trained on need not be there.

    Args:
      path: a workdir (its furthest stage), a stage's folder, or one step's.
      average: take averaged parameters where there are some.
      config: its ``data`` and ``evaluation`` replace those of the checkpoint.

    Raises:
      checkpoints.CheckpointError: nothing to read there, or unreadable.
      lsgm.config.ConfigError: ``config`` is wrong, or does not fit the checkpoint.
    """
    folder = checkpoints.find(path)
    meta = checkpoints.describe(folder)
    meta["config"] = resolve(meta["config"])
    if config is not None:
        new = {name: plain(config[name], name) for name in MEASURED_BY}
        meta["config"] = resolve({**meta["config"], **new})
    experiment = experiments.described(meta["config"])
    stage = experiment.stages[meta["stage"]]
    tree = checkpoints.read(folder, ("params", "ema", "mutables"))
    tree = jax.tree.map(jnp.asarray, tree)
    params = {**tree["params"], **(tree["ema"] if average else {})}
    return Restored(
        model=stage.objective(experiment.vae).model,
        params=params,
        mutables=tree["mutables"],
        experiment=experiment,
        stage=meta["stage"],
        step=meta["step"],
        folder=folder,
        average=average and bool(tree["ema"]),
        meta=meta,
    )


def subject_of(restored: Restored, *, seed: int) -> Subject:
    """What an evaluation measures, with the card that says where it comes from."""
    experiment = restored.experiment
    stage_folder = restored.folder.parent.parent
    done = experiment.stage_order[: experiment.stage_order.index(restored.stage) + 1]
    return Subject(
        model=restored.model,
        params=restored.params,
        mutables=restored.mutables,
        data=experiment.data,
        settings=experiment.evaluation,
        card=card_of(restored, seed=seed),
        records={name: stage_folder.parent / name / "metrics.jsonl" for name in done},
    )


def measure(restored: Restored, *, seed: int, out: pathlib.Path) -> None:
    """Evaluate into a folder, going on from where an evaluation there stopped.

    Raises:
      lsgm.locks.InUseError: another process evaluates into that folder.
      lsgm.config.ConfigError: the data are not there, or do not hold what is asked.
      lsgm.features.weights_file.WeightsError: the extractor's weights are not those
        that it records.
    """
    experiments.check_data(restored.experiment)
    experiments.check_extractor(restored.experiment)
    subject = subject_of(restored, seed=seed)
    with (
        lock_file(out / LOCK),
        experiments.name_data_keys(subject.data),
    ):
        evaluate.write(subject, evaluate.measure(subject, seed, out), out)


def card_of(restored: Restored, *, seed: int) -> dict[str, Any]:
    """The provenance card (``lsgm.evaluation.provenance``)."""
    settings, data = restored.experiment.evaluation, restored.experiment.data
    config = json.dumps(restored.meta["config"], sort_keys=True).encode()
    raw = restored.meta.get("parameters", "raw")
    tree = {"params": restored.params, "mutables": restored.mutables}
    return {
        "title": restored.folder.parent.parent.parent.absolute().name,
        "checkpoint": str(restored.folder),
        "stage": restored.stage,
        "step": restored.step,
        "parameters": "averaged" if restored.average else raw,
        "parameters_sha256": provenance.tree_sha256(tree),
        "config_sha256": hashlib.sha256(config).hexdigest(),
        "seed": seed,
        "prior": repr(restored.model.prior),
        "sampler": repr(getattr(restored.model.prior, "sampler", None)),
        "num_samples": settings.num_samples,
        "sampling_batch_size": settings.batch_size,
        "temperature": settings.temperature,
        "batch_statistics": settings.batch_statistics,
        "recalibration_batches": settings.recalibration_batches,
        "data": data.origin,
        "split": settings.split,
        "num_bits": data.num_bits,
        "binarize": data.binarize,
        "evaluation": repr(settings),
        **provenance.provenance_of(settings),
        **provenance.environment(),
    }

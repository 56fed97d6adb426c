"""From a checkpoint's path to a model that samples and evaluates."""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lsgm.config import plain
from lsgm.model import LatentModel
from lsgm.runs import experiment as experiments
from lsgm.runs import packaged
from lsgm.runs.experiment import Experiment
from lsgm.runs.stored import resolve
from lsgm.training import checkpoints
from lsgm.trust import require_trusted
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
      folder: the checkpoint itself; of one that comes with the package its file.
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

    @property
    def title(self) -> str:
        """What the model is called: its workdir's name, or ``package:<name>``."""
        if self.folder.parent == packaged.ASSETS:
            return packaged.PREFIX + self.folder.stem
        return self.folder.parent.parent.parent.absolute().name


def about(restored: Restored) -> dict[str, Any]:
    """What a checkpoint of the package says of itself."""
    return {
        "config": restored.meta["config"],
        "versions": restored.meta.get("versions", {}),
        "stage": restored.stage,
        "step": restored.step,
        "average": restored.average,
    }


MEASURED_BY = ("data", "evaluation")
# () -> parameters, mutables, whether averages were taken.
Read = Callable[[], tuple[Params, Params, bool]]


def restore(
    path: pathlib.Path,
    *,
    average: bool = True,
    config: Mapping[str, Any] | ConfigDict | None = None,
    trust: Sequence[str] = (),
) -> Restored:
    """Build the model that a checkpoint describes and read its parameters.

    The data that it was trained on need not be there.

    Args:
      path: a workdir (its furthest stage), a stage's folder, or one step's; or
        ``package:<name>``.
      average: take averaged parameters where there are some.
      config: its ``data`` and ``evaluation`` replace those of the checkpoint.
      trust: packages besides lsgm whose classes the checkpoint may name; their code
        is run.

    Raises:
      checkpoints.CheckpointError: nothing to read there, or unreadable.
      lsgm.config.ConfigError: ``config`` is wrong, or does not fit the checkpoint; or
        the checkpoint names a class of a package that is not trusted.
    """
    folder, meta, read = _open(path, average)
    meta["config"] = resolve(meta["config"])
    replaced = () if config is None else MEASURED_BY
    stored = {k: v for k, v in meta["config"].items() if k not in replaced}
    require_trusted(stored, trust)
    if config is not None:
        new = {name: plain(config[name], name) for name in MEASURED_BY}
        meta["config"] = resolve({**meta["config"], **new})
    experiment = experiments.described(meta["config"])
    stage = experiment.stages[meta["stage"]]
    params, mutables, averaged = read()
    return Restored(
        model=stage.objective(experiment.vae).model,
        params=params,
        mutables=mutables,
        experiment=experiment,
        stage=meta["stage"],
        step=meta["step"],
        folder=folder,
        average=averaged,
        meta=meta,
    )


def _open(path: pathlib.Path, average: bool) -> tuple[pathlib.Path, dict, Read]:
    """Place and description of a checkpoint, and what reads its arrays."""
    name = packaged.name_of(path)
    if name is None:
        folder = checkpoints.find(path)
        read = functools.partial(_read, folder, average)
        return folder, checkpoints.describe(folder), read
    found = packaged.read(name)
    held = found.params, found.mutables, found.meta["average"]
    return found.file, dict(found.meta), lambda: held


def _read(folder: pathlib.Path, average: bool) -> tuple[Params, Params, bool]:
    tree = checkpoints.read(folder, ("params", "ema", "mutables"))
    tree = jax.tree.map(jnp.asarray, tree)
    averages = tree["ema"] if average else {}
    return {**tree["params"], **averages}, tree["mutables"], bool(averages)

"""From a checkpoint's path to a model that samples and evaluates."""

import pathlib
from typing import Any, NamedTuple

from lsgm import experiment as experiments
from lsgm.experiment import Experiment
from lsgm.model import LatentModel
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
      meta: what the checkpoint says of itself (config, versions).
    """

    model: LatentModel
    params: Params
    mutables: Params
    experiment: Experiment
    stage: str
    step: int
    folder: pathlib.Path
    meta: dict[str, Any]


def restore(path: pathlib.Path, *, average: bool = True) -> Restored:
    """Build the model that a checkpoint describes and read its parameters.

    Args:
      path: a workdir (its furthest stage), a stage's folder, or one step's.
      average: take averaged parameters where there are some.

    Raises:
      checkpoints.CheckpointError: nothing to read there, or unreadable.
    """
    folder = checkpoints.find(path)
    meta = checkpoints.describe(folder)
    experiment = experiments.from_config(meta["config"])
    stage = experiment.stages[meta["stage"]]
    tree = checkpoints.read(folder, ("params", "ema", "mutables"))
    params = {**tree["params"], **(tree["ema"] if average else {})}
    return Restored(
        model=stage.objective(experiment.vae).model,
        params=params,
        mutables=tree["mutables"],
        experiment=experiment,
        stage=meta["stage"],
        step=meta["step"],
        folder=folder,
        meta=meta,
    )

"""Draw samples from a checkpoint, with the network calls that each took.

    python -m experiments.sample --checkpoint=package:demo --num_samples=64
    python -m experiments.sample --checkpoint=runs/demo \\
        --sampler=lsgm.samplers.heun:Heun --sampler_arg=num_steps=5

Writes ``samples.png`` (a grid) and ``samples.npz`` (``images`` uint8 [n h w c],
``nfe`` int32 [n]: calls of the prior's network per sample).
"""

import pathlib
import sys

from absl import app, flags, logging

from experiments import path_flags
from experiments.flag_errors import parse_flags
from experiments.sampler_flags import with_sampler
from experiments.trust_flag import trusted
from lsgm.config import ConfigError
from lsgm.evaluation import sampling
from lsgm.runs.restore import Restored, restore
from lsgm.streams import MAX_SEED
from lsgm.terminal import forgive_output
from lsgm.trained import TrainedModel
from lsgm.training.checkpoints import CheckpointError

_CHECKPOINT = path_flags.DEFINE_folder(
    "checkpoint",
    "A workdir, a stage's folder, or a checkpoint.",
    writes=False,
    required=True,
)
_OUT = path_flags.DEFINE_folder(
    "out", "Folder to write to; default: <checkpoint>/samples, or samples.", writes=True
)
_NUM = flags.DEFINE_integer("num_samples", 64, "How many.", lower_bound=1)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the initial noise.", lower_bound=0, upper_bound=MAX_SEED
)
_BATCH = flags.DEFINE_integer(
    "batch_size", None, "Samples per batch; default: the config's.", lower_bound=1
)
_TEMPERATURE = flags.DEFINE_float(
    "temperature", None, "Factor on the initial noise's standard deviation."
)
_RECALIBRATE = flags.DEFINE_integer(
    "recalibrate",
    None,
    "Generated batches from which to take the decoder's batch normalisation "
    "statistics first; default: the config's.",
    lower_bound=0,
)
_AVERAGE = flags.DEFINE_bool("average", True, "Use averaged parameters.")


def main(argv: list[str]) -> None:
    """Restore, sample, write."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    forgive_output()
    path: pathlib.Path = _CHECKPOINT.value
    try:
        restored = restore(path, average=_AVERAGE.value, trust=trusted())
        drawn = _draw(restored._replace(model=with_sampler(restored.model)))
        out = _OUT.value or path_flags.beside(path, "samples")
        sampling.write(drawn, out, restored.experiment.data.view)
    except (ConfigError, CheckpointError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    print(
        f"{len(drawn.images)} samples, {drawn.nfe.mean():g} network calls each, "
        f"from {restored.stage} step {restored.step}: {out / 'samples.png'}"
    )


def _draw(restored: Restored) -> sampling.Drawn:
    """Samples with what the flags give in the place of the checkpoint's settings.

    Raises:
      ConfigError: a value that the settings refuse.
    """
    given = {
        "batch_size": _BATCH.value,
        "temperature": _TEMPERATURE.value,
        "recalibration_batches": _RECALIBRATE.value,
    }
    try:
        return TrainedModel(restored).sample(_NUM.value, seed=_SEED.value, **given)
    except ValueError as error:
        name, _, reason = str(error).partition(" ")
        if name not in given:
            raise
        reason = reason.partition(": ")[2]
        raise ConfigError(f"evaluation.{name}", given[name], reason) from error


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)

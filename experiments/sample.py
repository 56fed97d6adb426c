"""Draw samples from a checkpoint, with the network calls that each took.

    python -m experiments.sample --checkpoint=runs/demo --num_samples=64

Writes ``samples.png`` (a grid) and ``samples.npz`` (``images`` uint8 [n h w c],
``nfe`` int32 [n]: calls of the prior's network per sample).
"""

import dataclasses
import pathlib
import sys

from absl import app, flags, logging

from experiments import path_flags
from experiments.flag_errors import parse_flags
from experiments.sampler_flags import with_sampler
from experiments.trust_flag import trusted
from lsgm.config import ConfigError
from lsgm.evaluation import sampling
from lsgm.evaluation.recalibration import recalibrate
from lsgm.evaluation.settings import Evaluation
from lsgm.runs.restore import Restored, restore
from lsgm.streams import MAX_SEED, Use, stream
from lsgm.terminal import forgive_output
from lsgm.training.checkpoints import CheckpointError

_CHECKPOINT = path_flags.DEFINE_folder(
    "checkpoint",
    "A workdir, a stage's folder, or a checkpoint.",
    writes=False,
    required=True,
)
_OUT = path_flags.DEFINE_folder(
    "out", "Folder to write to; default: <checkpoint>/samples.", writes=True
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
        out = _OUT.value or path / "samples"
        sampling.write(drawn, out, restored.experiment.data.view)
    except (ConfigError, CheckpointError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    print(
        f"{len(drawn.images)} samples, {drawn.nfe.mean():g} network calls each, "
        f"from {restored.stage} step {restored.step}: {out / 'samples.png'}"
    )


def _draw(restored: Restored) -> sampling.Drawn:
    model, settings = restored.model, _settings(restored.experiment.evaluation)
    mutables = recalibrate(
        model,
        restored.params,
        restored.mutables,
        num_batches=settings.recalibration_batches,
        batch_size=settings.batch_size,
        seed=_SEED.value,
        temperature=settings.temperature,
    )
    sample = sampling.sample_fn(
        model,
        settings.batch_size,
        temperature=settings.temperature,
        batch_statistics=settings.batch_statistics,
    )
    key = stream(_SEED.value, Use.SAMPLES)
    return sampling.draw(sample, restored.params, mutables, _NUM.value, key)


def _settings(stored: Evaluation) -> Evaluation:
    """The checkpoint's settings with what the flags give instead.

    Raises:
      ConfigError: a value that the settings refuse.
    """
    given = {
        "batch_size": _BATCH.value,
        "temperature": _TEMPERATURE.value,
        "recalibration_batches": _RECALIBRATE.value,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("recalibration_batches"):
        given["batch_statistics"] = False
    try:
        return dataclasses.replace(stored, **given)
    except ValueError as error:
        name, _, reason = str(error).partition(" ")
        reason = reason.partition(": ")[2]
        raise ConfigError(f"evaluation.{name}", given.get(name), reason) from error


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)

"""Draw samples from a checkpoint, with the network calls that each took.

    python -m experiments.sample --checkpoint=runs/demo --num_samples=64

Writes ``samples.png`` (a grid) and ``samples.npz`` (``images`` uint8 [n h w c],
``nfe`` int32 [n]: calls of the prior's network per sample).
"""

import pathlib
import sys

from absl import app, flags, logging

from experiments.sampler_flags import with_sampler
from experiments.trust_flag import trusted
from lsgm.config import ConfigError
from lsgm.evaluation import sampling
from lsgm.evaluation.recalibration import recalibrate
from lsgm.runs.restore import Restored, restore
from lsgm.training.checkpoints import CheckpointError

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "A workdir, a stage's folder, or a checkpoint.", required=True
)
_OUT = flags.DEFINE_string(
    "out", None, "Folder to write to; default: <checkpoint>/samples."
)
_NUM = flags.DEFINE_integer("num_samples", 64, "How many.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the initial noise.")
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
    path = pathlib.Path(_CHECKPOINT.value)
    try:
        restored = restore(path, average=_AVERAGE.value, trust=trusted())
        drawn = _draw(restored._replace(model=with_sampler(restored.model)))
    except (ConfigError, CheckpointError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    out = pathlib.Path(_OUT.value) if _OUT.value else path / "samples"
    sampling.write(drawn, out, restored.experiment.data.view)
    print(
        f"{len(drawn.images)} samples, {drawn.nfe.mean():g} network calls each, "
        f"from {restored.stage} step {restored.step}: {out / 'samples.png'}"
    )


def _draw(restored: Restored) -> sampling.Drawn:
    model, settings = restored.model, restored.experiment.evaluation
    batch_size = _BATCH.value or settings.batch_size
    temperature = _TEMPERATURE.value or settings.temperature
    batches = _RECALIBRATE.value
    if batches is None:
        batches = settings.recalibration_batches
    mutables = recalibrate(
        model,
        restored.params,
        restored.mutables,
        num_batches=batches,
        batch_size=batch_size,
        seed=_SEED.value,
        temperature=temperature,
    )
    sample = sampling.sample_fn(
        model,
        min(_NUM.value, batch_size),
        temperature=temperature,
        batch_statistics=settings.batch_statistics and not batches,
    )
    return sampling.draw(sample, restored.params, mutables, _NUM.value, _SEED.value)


if __name__ == "__main__":
    app.run(main)

"""Evaluate a checkpoint: metrics.json and report.html.

    python -m experiments.evaluate --checkpoint=runs/demo

What is measured, and on how much, stands in the config's ``evaluation``.
"""

import pathlib
import sys

from absl import app, flags, logging

from lsgm import experiment
from lsgm.config import ConfigError
from lsgm.evaluation import evaluate
from lsgm.restore import restore, subject_of
from lsgm.training.checkpoints import CheckpointError

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "A workdir, a stage's folder, or a checkpoint.", required=True
)
_OUT = flags.DEFINE_string("out", None, "Folder to write to; default: that one.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of all draws.")
_AVERAGE = flags.DEFINE_bool("average", True, "Use averaged parameters.")


def main(argv: list[str]) -> None:
    """Restore, measure, write."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    path = pathlib.Path(_CHECKPOINT.value)
    try:
        restored = restore(path, average=_AVERAGE.value)
        experiment.check_data(restored.experiment)
    except (ConfigError, CheckpointError) as error:
        sys.exit(f"error: {error}")
    subject = subject_of(restored, seed=_SEED.value)
    measured = evaluate.measure(subject, _SEED.value)
    out = pathlib.Path(_OUT.value) if _OUT.value else path
    evaluate.write(subject, measured, out)
    print(f"{out / 'metrics.json'}\n{out / 'report.html'}")


if __name__ == "__main__":
    app.run(main)

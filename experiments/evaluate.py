"""Evaluate a checkpoint: metrics.json, per_example.npz and report.html.

    python -m experiments.evaluate --checkpoint=runs/demo
    python -m experiments.evaluate --compare runs/demo runs/demo/vae --out=compared

What is measured, and on how much, stands in the config's ``evaluation``. A killed
evaluation goes on where it stopped. ``--compare`` puts finished ones side by side.
"""

import pathlib
import sys

from absl import app, flags, logging

from lsgm import experiment
from lsgm.config import ConfigError
from lsgm.evaluation import compare, evaluate
from lsgm.restore import restore, subject_of
from lsgm.training.checkpoints import CheckpointError

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "A workdir, a stage's folder, or a checkpoint."
)
_COMPARE = flags.DEFINE_bool(
    "compare", False, "Compare the evaluations in the folders that are named."
)
_OUT = flags.DEFINE_string("out", None, "Folder to write to; default: that one.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of all draws.")
_AVERAGE = flags.DEFINE_bool("average", True, "Use averaged parameters.")


def main(argv: list[str]) -> None:
    """Restore, measure, write; or compare."""
    logging.set_verbosity(logging.WARNING)
    if _COMPARE.value:
        sys.exit(_compare([pathlib.Path(word) for word in argv[1:]]))
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    if not _CHECKPOINT.value:
        raise app.UsageError("--checkpoint must be given")
    path = pathlib.Path(_CHECKPOINT.value)
    try:
        restored = restore(path, average=_AVERAGE.value)
        experiment.check_data(restored.experiment)
    except (ConfigError, CheckpointError) as error:
        sys.exit(f"error: {error}")
    subject = subject_of(restored, seed=_SEED.value)
    out = pathlib.Path(_OUT.value) if _OUT.value else path
    measured = evaluate.measure(subject, _SEED.value, out)
    evaluate.write(subject, measured, out)
    print(f"{out / 'metrics.json'}\n{out / 'report.html'}")


def _compare(folders: list[pathlib.Path]) -> str | None:
    """Write the page; what is wrong, if anything is."""
    if len(folders) < 2 or not _OUT.value:
        return "error: --compare takes two folders or more, and --out"
    try:
        evaluations = [compare.read(folder) for folder in folders]
    except compare.CompareError as error:
        return f"error: {error}"
    page = compare.write(evaluations, pathlib.Path(_OUT.value))
    for warning in compare.warnings_of(evaluations):
        print(f"WARNING: {warning}")
    print(page)
    return None


if __name__ == "__main__":
    app.run(main)

"""Evaluate a checkpoint: metrics.json, per_example.npz and report.html.

    python -m experiments.evaluate --checkpoint=runs/demo
    python -m experiments.evaluate --checkpoint=runs/demo --out=runs/demo/heun \\
        --config=configs/demo.py --config.evaluation.num_samples=5000 \\
        --sampler=lsgm.samplers.heun:Heun --sampler_arg=num_steps=10
    python -m experiments.evaluate --compare runs/demo runs/demo/heun --out=compared

What is measured, and on how much, stands in the ``evaluation`` of the checkpoint's
config, or in that of ``--config``. A killed evaluation goes on where it stopped.
``--compare`` puts finished ones side by side.
"""

import pathlib
import signal
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from experiments import path_flags
from experiments.flag_errors import parse_flags
from experiments.sampler_flags import with_sampler
from experiments.trust_flag import trusted
from lsgm.config import ConfigError
from lsgm.evaluation import compare
from lsgm.features.weights_file import WeightsError
from lsgm.locks import FolderError
from lsgm.runs.measure import measure
from lsgm.runs.restore import restore
from lsgm.streams import MAX_SEED
from lsgm.terminal import forgive_output
from lsgm.training.checkpoints import CheckpointError

_CHECKPOINT = path_flags.DEFINE_folder(
    "checkpoint", "A workdir, a stage's folder, or a checkpoint.", writes=False
)
_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file whose data and evaluation replace the checkpoint's.",
    lock_config=True,
)
_COMPARE = flags.DEFINE_bool(
    "compare", False, "Compare the evaluations in the folders that are named."
)
_OUT = path_flags.DEFINE_folder(
    "out", "Folder to write to; default: that one.", writes=True
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of all draws.", lower_bound=0, upper_bound=MAX_SEED
)
_AVERAGE = flags.DEFINE_bool("average", True, "Use averaged parameters.")


def main(argv: list[str]) -> None:
    """Restore, measure, write; or compare."""
    logging.set_verbosity(logging.WARNING)
    forgive_output()
    if _COMPARE.value:
        sys.exit(_compare([pathlib.Path(word) for word in argv[1:]]))
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    if not _CHECKPOINT.value:
        raise app.UsageError("--checkpoint must be given")
    path: pathlib.Path = _CHECKPOINT.value
    try:
        restored = restore(
            path, average=_AVERAGE.value, config=_CONFIG.value, trust=trusted()
        )
        restored = restored._replace(model=with_sampler(restored.model))
        out = _OUT.value or path_flags.beside(path, "")
        measure(restored, seed=_SEED.value, out=out)
    except (
        ConfigError,
        CheckpointError,
        WeightsError,
        FloatingPointError,
        FolderError,
    ) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\nstopped. The same command goes on from there.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    print(f"{out / 'metrics.json'}\n{out / 'report.html'}")


def _compare(folders: list[pathlib.Path]) -> str | None:
    """Write the page; what is wrong, if anything is."""
    if len(folders) < 2 or not _OUT.value:
        return "error: --compare takes two folders or more, and --out"
    try:
        evaluations = [compare.read(folder, trusted()) for folder in folders]
    except compare.CompareError as error:
        return f"error: {error}"
    page = compare.write(evaluations, _OUT.value)
    for warning in compare.warnings_of(evaluations):
        print(f"WARNING: {warning}")
    print(page)
    return None


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)

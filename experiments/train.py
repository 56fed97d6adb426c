"""Train all stages of an experiment, from where it stands.

    python -m experiments.train --config=configs/demo.py --workdir=runs/demo
    python -m experiments.train --config=configs/demo.py --workdir=runs/demo --dry_run

Started again on the same workdir, a run goes on from its last checkpoint and
gives the numbers that it would have given uninterrupted. Where the config names the
figures of a paper (``evaluation.ledger``), it ends with its evaluation and the ledger.
"""

import pathlib
import signal
import sys

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from experiments import path_flags
from experiments.flag_errors import parse_flags
from lsgm.config import ConfigError
from lsgm.features.weights_file import WeightsError
from lsgm.locks import InUseError
from lsgm.runs import dry_run, experiment, train
from lsgm.runs.measure import measure
from lsgm.runs.restore import restore
from lsgm.runs.workdir import WorkdirError
from lsgm.terminal import forgive_output
from lsgm.training.checkpoints import CheckpointError
from lsgm.training.guard import DivergedError
from lsgm.training.loop import Interrupted
from lsgm.training.writers import WriteError

_REPORTED = (
    ConfigError,
    WorkdirError,
    CheckpointError,
    DivergedError,
    InUseError,
    WriteError,
    WeightsError,
    FloatingPointError,
)
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with a variant after a colon.", lock_config=True
)
_WORKDIR = path_flags.DEFINE_folder(
    "workdir", "Folder of the run.", writes=True, required=True
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Say what would be trained and written, and stop."
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the processes that the cluster's scheduler started."
)


def main(argv: list[str]) -> None:
    """Check the config, then train."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    forgive_output()
    if _DISTRIBUTED.value:
        jax.distributed.initialize()
    workdir: pathlib.Path = _WORKDIR.value
    try:
        checked = experiment.from_config(_CONFIG.value)
        if _DRY_RUN.value:
            print(dry_run.describe(checked, _CONFIG.value, workdir))
            return
        train.train(checked, _CONFIG.value, workdir)
        if checked.evaluation.ledger is not None:
            _evaluate(workdir)
    except Interrupted as saved:
        print(f"\n{saved}. The same command goes on from there.", file=sys.stderr)
        # What a shell reports of a command that this signal has ended.
        sys.exit(128 + saved.signal)
    except KeyboardInterrupt:
        print("\nstopped. The same command goes on from there.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except _REPORTED as error:
        sys.exit(f"error: {error}")


def _evaluate(workdir: pathlib.Path) -> None:
    if jax.process_count() > 1:
        command = f"python -m experiments.evaluate --checkpoint={workdir}"
        print(f"evaluate it in one process: {command}")
        return
    measure(restore(workdir), seed=0, out=workdir)
    print((workdir / "ledger.md").read_text())


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=parse_flags)

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
from lsgm.locks import FolderError
from lsgm.runs import dry_run, experiment, train
from lsgm.runs.measure import measure
from lsgm.runs.restore import restore
from lsgm.runs.workdir import WorkdirError
from lsgm.terminal import forgive_output
from lsgm.training.checkpoints import CheckpointError
from lsgm.training.guard import DivergedError, Interrupted
from lsgm.training.hosts import JoinError, join, say_and_leave
from lsgm.training.writers import WriteError
from lsgm.trust import packages_of

_REPORTED = (
    ConfigError,
    WorkdirError,
    CheckpointError,
    DivergedError,
    FolderError,
    WriteError,
    WeightsError,
    JoinError,
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
    "distributed",
    False,
    "Join the run's other processes. Slurm, Open MPI and GKE say where they are, else "
    "the next three flags.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port, a free port on the host of process 0."
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "How many processes the run has.", lower_bound=1
)
_PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "Which of them this is, from 0.", lower_bound=0
)
_PEER_SECONDS = flags.DEFINE_integer(
    "peer_seconds",
    100,
    "Seconds after which a process that does not come or has hung ends the others.",
    lower_bound=1,
)


def main(argv: list[str]) -> None:
    """Check the config, then train."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    forgive_output()
    workdir: pathlib.Path = _WORKDIR.value
    try:
        _join()
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
        if _DISTRIBUTED.value:
            say_and_leave(f"error: {error}", 1)
        sys.exit(f"error: {error}")


def _join() -> None:
    flags_of_place = (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID)
    absent = [f"--{flag.name}" for flag in flags_of_place if flag.value is None]
    if len(absent) < len(flags_of_place) and (absent or not _DISTRIBUTED.value):
        needed = ", ".join(absent) or "--distributed"
        raise JoinError(f"the place of one process among several needs {needed} too")
    if _DISTRIBUTED.value:
        join(
            _COORDINATOR.value,
            _NUM_PROCESSES.value,
            _PROCESS_ID.value,
            _PEER_SECONDS.value,
        )


def _evaluate(workdir: pathlib.Path) -> None:
    if jax.process_count() > 1:
        command = f"python -m experiments.evaluate --checkpoint={workdir}"
        print(f"evaluate it in one process: {command}")
        return
    # What it stored is this command's own config.
    restored = restore(workdir, trust=packages_of(_CONFIG.value))
    measure(restored, seed=0, out=workdir)
    print((workdir / "ledger.md").read_text())


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=parse_flags)

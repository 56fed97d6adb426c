"""Train all stages of an experiment, from where it stands.

    python -m experiments.train --config=configs/demo.py --workdir=runs/demo

Started again on the same workdir, a run goes on from its last checkpoint and
gives the numbers that it would have given uninterrupted.
"""

import pathlib
import sys

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from experiments.flag_errors import parse_flags
from lsgm import experiment, launch
from lsgm.config import ConfigError
from lsgm.training.checkpoints import CheckpointError
from lsgm.training.guard import NonFiniteError
from lsgm.training.loop import Interrupted
from lsgm.training.writers import WriteError

_REPORTED = (
    ConfigError,
    launch.WorkdirError,
    CheckpointError,
    NonFiniteError,
    WriteError,
)
_INTERRUPTED = 130  # What a shell reports of a command that Ctrl-C has ended.
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with a variant after a colon.", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the processes that the cluster's scheduler started."
)


def main(argv: list[str]) -> None:
    """Check the config, then train."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    if _DISTRIBUTED.value:
        jax.distributed.initialize()
    try:
        checked = experiment.from_config(_CONFIG.value)
        launch.train(checked, _CONFIG.value, pathlib.Path(_WORKDIR.value))
    except Interrupted as saved:
        print(f"\n{saved}. The same command goes on from there.", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except _REPORTED as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=parse_flags)

"""Turn a published LSGM checkpoint into one that sample and evaluate take.

    python -m experiments.import_checkpoint --from=checkpoint_fid.pt --workdir=runs/lsgm
    python -m experiments.sample --checkpoint=runs/lsgm

Reads PyTorch's ``.pt`` (without PyTorch), ``.npz`` and ``.safetensors``; executes
nothing that is in the file. See ``docs/checkpoints.md``.
"""

import json
import pathlib
import sys

from absl import app, flags, logging

from experiments import path_flags
from lsgm.runs import exchange
from lsgm.runs.workdir import WorkdirError
from lsgm.training.checkpoints import CheckpointError

_FROM = path_flags.DEFINE_folder(
    "from", "The published file.", writes=False, required=True
)
_WORKDIR = path_flags.DEFINE_folder(
    "workdir", "A new folder.", writes=True, required=True
)
_ARGS = flags.DEFINE_string(
    "args", None, "JSON file with the run's arguments; default: those in the file."
)
_PREFIX = flags.DEFINE_string(
    "strip_prefix", "", "What to leave out before every tensor's name: module."
)


def main(argv: list[str]) -> None:
    """Read, check, write."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    try:
        args = (
            json.loads(pathlib.Path(_ARGS.value).read_text()) if _ARGS.value else None
        )
        folder = exchange.import_file(
            _FROM.value, _WORKDIR.value, args, prefix=_PREFIX.value
        )
    except (ValueError, OSError, WorkdirError, CheckpointError) as error:
        sys.exit(f"error: {error}")
    print(f"wrote {folder}")


if __name__ == "__main__":
    app.run(main)

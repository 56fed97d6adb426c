"""Turn a published checkpoint into one that sample and evaluate take.

    # of LSGM
    python -m experiments.import_checkpoint --from=checkpoint_fid.pt --workdir=runs/lsgm
    python -m experiments.sample --checkpoint=runs/lsgm
    # of a denoising diffusion GAN, whose generator comes without the run's arguments
    python -m experiments.import_checkpoint --from=netG_1200.pth --args=cifar10.json \\
        --workdir=runs/gan

Reads PyTorch's ``.pt`` (without PyTorch), ``.npz`` and ``.safetensors``; executes
nothing that is in the file. See ``docs/checkpoints.md``.
"""

import json
import pathlib
import sys

from absl import app, flags, logging

from lsgm.interop import ddgan_run
from lsgm.runs import exchange, exchange_gan
from lsgm.runs.workdir import WorkdirError
from lsgm.training.checkpoints import CheckpointError

_FROM = flags.DEFINE_string("from", None, "The published file.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "A new folder.", required=True)
_ARGS = flags.DEFINE_string(
    "args", None, "JSON file with the run's arguments; default: those in the file."
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
        path, workdir = pathlib.Path(_FROM.value), pathlib.Path(_WORKDIR.value)
        gan = ddgan_run.read(path, args)
        if gan is not None:
            folder = exchange_gan.import_gan(gan, path, workdir)
        else:
            folder = exchange.import_file(path, workdir, args)
    except (ValueError, OSError, WorkdirError, CheckpointError) as error:
        sys.exit(f"error: {error}")
    print(f"wrote {folder}")


if __name__ == "__main__":
    app.run(main)

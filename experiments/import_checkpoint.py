"""Turn a published checkpoint into one that sample and evaluate take.

    # of LSGM
    python -m experiments.import_checkpoint --from=checkpoint_fid.pt --workdir=runs/lsgm
    python -m experiments.sample --checkpoint=runs/lsgm
    # of CLD, whose arguments stand in two text files
    python -m experiments.import_checkpoint --from=checkpoint.pth --workdir=runs/cld \\
        --args=default_cifar10.txt,specific_cifar10.txt
    # of a denoising diffusion GAN, whose generator comes without the run's arguments
    python -m experiments.import_checkpoint --from=netG_1200.pth --args=cifar10.json \\
        --workdir=runs/gan

Reads PyTorch's ``.pt`` (without PyTorch), ``.npz`` and ``.safetensors``; executes
nothing that is in the file. See ``docs/checkpoints.md``.
"""

import pathlib
import sys

from absl import app, flags, logging

from experiments import path_flags
from experiments.flag_errors import parse_flags
from lsgm.interop import ddgan_run
from lsgm.interop.cld_config import read_args
from lsgm.runs import exchange, exchange_gan
from lsgm.runs.workdir import WorkdirError
from lsgm.training.checkpoints import CheckpointError

_FROM = path_flags.DEFINE_folder(
    "from", "The published file.", writes=False, required=True
)
_WORKDIR = path_flags.DEFINE_folder(
    "workdir", "A new folder.", writes=True, required=True
)
_ARGS = flags.DEFINE_string(
    "args",
    None,
    "Files with the run's arguments, JSON or lines `name = value`, comma-separated, of "
    "which later ones replace; default: those in the checkpoint.",
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
        args = None
        if _ARGS.value:
            args = read_args([pathlib.Path(path) for path in _ARGS.value.split(",")])
        path, workdir = _FROM.value, _WORKDIR.value
        gan = ddgan_run.read(path, args)
        if gan is not None:
            folder = exchange_gan.import_gan(gan, path, workdir)
        else:
            folder = exchange.import_file(path, workdir, args, prefix=_PREFIX.value)
    except (ValueError, OSError, WorkdirError, CheckpointError) as error:
        sys.exit(f"error: {error}")
    print(f"wrote {folder}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)

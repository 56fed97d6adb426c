"""Write a trained model under the names of the published code.

    python -m experiments.export_checkpoint --checkpoint=runs/lsgm --to=lsgm.safetensors

Writes ``.safetensors`` or ``.npz``; see ``docs/checkpoints.md``. With
``--to=package:<name>`` the model is put into this package instead, its kernels in half
precision: ``lsgm.load("package:<name>")`` finds it then, wherever the package goes.
"""

import sys

from absl import app, flags, logging

from experiments import path_flags
from experiments.flag_errors import parse_flags
from experiments.trust_flag import trusted
from lsgm.runs import exchange, packaged
from lsgm.runs.restore import about, restore
from lsgm.training.checkpoints import CheckpointError

_CHECKPOINT = path_flags.DEFINE_folder(
    "checkpoint",
    "A workdir, a stage's folder, or a checkpoint.",
    writes=False,
    required=True,
)
_TO = path_flags.DEFINE_folder("to", "File to write.", writes=False, required=True)
_AVERAGE = flags.DEFINE_bool("average", True, "Use averaged parameters.")


def main(argv: list[str]) -> None:
    """Restore, translate, write."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    try:
        restored = restore(_CHECKPOINT.value, average=_AVERAGE.value, trust=trusted())
        name = packaged.name_of(_TO.value)
        if name is None:
            exchange.export_file(restored, _TO.value)
        else:
            packaged.write(name, restored.params, restored.mutables, about(restored))
    except (ValueError, OSError, CheckpointError) as error:
        sys.exit(f"error: {error}")
    print(f"wrote {_TO.value}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)

"""Turn local files into a data set that TFDS reads, without TensorFlow.

    # Fashion-MNIST or MNIST from their four IDX files
    python -m experiments.prepare_data --from=idx --root=DIR \\
        --name=fashion_mnist --version=3.0.1
    # a folder of images with sub-folders train, validation, test
    python -m experiments.prepare_data --from=folder --root=DIR --name=faces64 \\
        --image_shape=64,64,3 --resize=box
    # one npz: hold out 5 % twice, keeping together what shares a value of 'base'
    python -m experiments.prepare_data --from=npz --root=emoji64.npz --name=emoji64 \\
        --hold_out=validation=0.05,test=0.05 --group_by=base

Writes ``<data_dir>/<name>/<version>``; never overwrites.
"""

import pathlib
import sys
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from absl import app, flags, logging

from lsgm.config import ConfigError
from lsgm.data.arrays import Npz
from lsgm.data.fit import Filter, Fit
from lsgm.data.idx import IDX
from lsgm.data.image_folder import ImageFolder
from lsgm.data.prepare import LabelledExamples, hold_out, prepare

_FROM = flags.DEFINE_enum(
    "from", None, ["folder", "idx", "npz"], "What the files are.", required=True
)
_ROOT = flags.DEFINE_string("root", None, "Folder, or npz file.", required=True)
_NAME = flags.DEFINE_string("name", None, "Name of the TFDS set.", required=True)
_VERSION = flags.DEFINE_string("version", "1.0.0", "Version of the TFDS set.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "~/tensorflow_datasets", "Folder that holds TFDS sets."
)
_LABELS = flags.DEFINE_bool("labels", False, "Sub-folders are classes (folder).")
_SHAPE = flags.DEFINE_list("image_shape", None, "h,w,c; default: the first image's.")
_GREY = flags.DEFINE_bool("grey", False, "Turn colour into one channel.")
_RESIZE = flags.DEFINE_enum(
    "resize",
    "none",
    list(get_args(Filter)),
    "Crop the centre and resize with this filter; none refuses other sizes.",
)
_HOLD_OUT = flags.DEFINE_list(
    "hold_out", [], "Split 'train' at random: validation=0.05,test=0.05."
)
_GROUP_BY = flags.DEFINE_string(
    "group_by", None, "Array in the npz: equal values stay in one split."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the random split.", lower_bound=0)


def main(argv: list[str]) -> None:
    """Open, split, write."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    # TFDS reports every file it writes at level INFO.
    logging.set_verbosity(logging.WARNING)
    try:
        folder = prepare(
            _splits(),
            name=_NAME.value,
            version=_VERSION.value,
            data_dir=_DATA_DIR.value,
            fit=_fit(),
        )
    except (ConfigError, FileExistsError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"wrote {folder}")


def _splits() -> Mapping[str, LabelledExamples]:
    kind, root = flags.FLAGS["from"].value, _ROOT.value
    if kind == "idx":
        source: Any = IDX(root=root)
    elif kind == "folder":
        source = ImageFolder(root=root, labels=_LABELS.value)
    else:
        source = Npz(train=root)
    if not _HOLD_OUT.value:
        return {split: source.open(split) for split in source.splits() or ("train",)}
    return hold_out(
        source.open("train"), _fractions(), groups=_groups(), seed=_SEED.value
    )


def _fractions() -> dict[str, float]:
    pairs = [part.partition("=") for part in _HOLD_OUT.value]
    return {split: float(fraction) for split, _, fraction in pairs}


def _groups() -> np.ndarray | None:
    if _GROUP_BY.value is None:
        return None
    with np.load(pathlib.Path(_ROOT.value).expanduser()) as file:
        if _GROUP_BY.value not in file:
            raise ValueError(f"--group_by={_GROUP_BY.value}: {file.files} are there")
        return file[_GROUP_BY.value]


def _fit() -> Fit | None:
    if _SHAPE.value is None:
        if _GREY.value or _RESIZE.value != "none":
            raise ValueError("--grey and --resize need --image_shape=h,w,c")
        return None
    if len(_SHAPE.value) != 3:
        raise ValueError(f"--image_shape={_SHAPE.value}: three numbers, h,w,c")
    h, w, c = map(int, _SHAPE.value)
    resize: Any = _RESIZE.value
    return Fit(image_shape=(h, w, c), grey=_GREY.value, resize=resize)


if __name__ == "__main__":
    app.run(main)

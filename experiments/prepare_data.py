"""Turn local files into a data set that TFDS reads, without TensorFlow.

    # a folder of images with sub-folders train, validation, test
    python -m experiments.prepare_data --from=folder --root=DIR --name=faces64 \\
        --image_shape=64,64,3 --resize=box --num_processes=8
    # a zip of images in no such folders: the first 27,000, then 3,000
    python -m experiments.prepare_data --from=zip --root=celeba_hq.zip \\
        --name=celeba_hq_256 --first=train=27000,test=3000
    # one npz: hold out 5 % twice, keeping together what shares a value of 'base'
    python -m experiments.prepare_data --from=npz --root=emoji64.npz --name=emoji64 \\
        --hold_out=validation=0.05,test=0.05 --group_by=base
    # StackedMNIST: three digits in three colours, 120,000 of them, padded to 32x32
    python -m experiments.prepare_data --from=idx --root=DIR --name=stacked_mnist \\
        --stack_passes=2 --stack_pad=2
    # lines of a file as texts
    python -m experiments.prepare_data --from=text --root=names.txt --name=names \\
        --hold_out=validation=5%,test=5%
    # is a prepared set still what was prepared?
    python -m experiments.prepare_data --verify --name=emoji64

Writes ``<data_dir>/<name>/<version>``; never overwrites. Stopped, it goes on where it
was when the same command is given again. More: ``docs/data.md``.
"""

import dataclasses
import json
import pathlib
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
from absl import app, flags, logging

from experiments import text_data
from experiments.flag_errors import parse_flags
from lsgm.arrays import read_arrays
from lsgm.config import nearest
from lsgm.data.errors import DataError
from lsgm.data.fit import Filter, Fit
from lsgm.data.preparation import manifest, text_lines
from lsgm.data.preparation.lists import read_list
from lsgm.data.preparation.prepare import Unreadable, prepare
from lsgm.data.preparation.split import first, hold_out, listed
from lsgm.data.preparation.stack import stack
from lsgm.data.sources.arrays import Npz
from lsgm.data.sources.base import Examples, Source, source_notes
from lsgm.data.sources.cifar import CIFAR10
from lsgm.data.sources.idx import IDX
from lsgm.data.sources.image_file import MAX_PIXELS
from lsgm.data.sources.image_folder import ImageFolder
from lsgm.data.sources.image_zip import ImageZip
from lsgm.data.sources.layout import split_name
from lsgm.data.sources.lmdb_source import LMDB
from lsgm.data.sources.parquet import Parquet
from lsgm.data.sources.tfrecord import TFRecord
from lsgm.locks import FolderError, lock_file
from lsgm.terminal import forgive_output

KINDS = {
    "cifar10": CIFAR10,
    "folder": ImageFolder,
    "idx": IDX,
    "lmdb": LMDB,
    "npz": Npz,
    "parquet": Parquet,
    "tfrecord": TFRecord,
    "zip": ImageZip,
}
_FROM = flags.DEFINE_enum("from", None, [*KINDS, *text_data.KINDS], "The files' kind.")
_ROOT = flags.DEFINE_string("root", None, "Folder, or file.")
_NAME = flags.DEFINE_string("name", None, "Name of the TFDS set.", required=True)
_VERSION = flags.DEFINE_string("version", "1.0.0", "Version of the TFDS set.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "~/tensorflow_datasets", "Folder that holds TFDS sets."
)
_LABELS = flags.DEFINE_bool(
    "labels", False, "Classes: sub-folders (folder, zip), a field (parquet, tfrecord)."
)
_SHAPE = flags.DEFINE_list("image_shape", None, "h,w,c; default: the first image's.")
_GREY = flags.DEFINE_bool("grey", False, "Turn colour into one channel.")
_RESIZE = flags.DEFINE_enum(
    "resize",
    "none",
    list(get_args(Filter)),
    "Crop the centre and resize with this filter; none refuses other sizes.",
)
_FLAT = flags.DEFINE_bool(
    "flat", False, "Names of folders and files say no split: all is split 'train'."
)
_IMAGE_ROOT = flags.DEFINE_string(
    "image_root", "", "Folder of the images that a Parquet file names by their paths."
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels",
    MAX_PIXELS,
    "An encoded image of more pixels is an error: a small file can hold very many.",
    lower_bound=1,
)
_ENLARGE = flags.DEFINE_bool("enlarge", False, "Let --resize make images larger.")
_NEAR = flags.DEFINE_bool(
    "near_duplicates", False, "Count images of a split that nearly are in another."
)
_HOLD_OUT = flags.DEFINE_list(
    "hold_out", [], "Split 'train' at random: validation=0.05,test=5%."
)
_GROUP_BY = flags.DEFINE_string(
    "group_by", None, "Array in the npz: equal values stay in one split."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of random splits and stacks.", lower_bound=0)
_FIRST = flags.DEFINE_list(
    "first", [], "Split 'train' in the order of its files: train=27000,test=3000."
)
_SPLIT_FILES = flags.DEFINE_list(
    "split_files", [], "Split 'train' by lists of file names: train=a.txt,test=b.txt."
)
_RENAME = flags.DEFINE_list("rename", [], "Names for splits: validation=test.")
_UNREADABLE = flags.DEFINE_enum(
    "unreadable",
    "fatal",
    list(get_args(Unreadable)),
    "What an unreadable image does: end it all, or be left out and listed.",
)
_PROCESSES = flags.DEFINE_integer(
    "num_processes", 1, "Processes that encode.", lower_bound=1
)
_STACK = flags.DEFINE_integer(
    "stack_passes",
    None,
    "Stack three grey images as colours, so many times each split's number of them.",
    lower_bound=1,
)
_STACK_PAD = flags.DEFINE_integer(
    "stack_pad", 0, "Black pixels on each side of a stack.", lower_bound=0
)
_VERIFY = flags.DEFINE_bool(
    "verify", False, "Compare a prepared set with its checksums instead."
)


def main(argv: list[str]) -> None:
    """Open, split, write; or verify."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    # TFDS reports every file it writes, and warns that OpenCV would read faster.
    logging.set_verbosity(logging.ERROR)
    forgive_output()
    try:
        if _VERIFY.value:
            _verify()
        else:
            with lock_file(_folder().with_name(f"{_VERSION.value}.lock")):
                _prepare()
    except DataError as error:
        sys.exit(f"error: {_flag(error)} = {error.value!r}: {_in_flags(error.reason)}")
    except (FolderError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def _flag(error: DataError) -> str:
    """The flag that stands for an argument of a source or of a fit."""
    # The file that --from=npz reads is its split 'train'.
    name = "root" if error.argument == "train" else error.argument
    return f"--{name}" if name in flags.FLAGS else name


def _in_flags(reason: str) -> str:
    """``reason`` with flags in the place of fields: "flat = True" is "--flat"."""

    def flag(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name not in flags.FLAGS:
            return found.group()
        return f"--{name}" if value == "True" else f"--{name}={value.strip(chr(39))}"

    return re.sub(r"\b([a-z_]+) = (True|\d+|'[^']*')", flag, reason)


def _prepare() -> None:
    kind, root = flags.FLAGS["from"].value, _ROOT.value
    if kind in text_data.KINDS and root is not None:
        fractions = _numbers(_HOLD_OUT, _fraction)
        text_data.prepare(kind, pathlib.Path(root).expanduser(), _folder(), fractions)
        return
    source, splits = _splits()
    unreadable: Any = _UNREADABLE.value
    notes = source_notes(source)
    for note in notes:
        print(f"note: {note}")
    for split, examples in splits.items():
        print(f"{split}: {len(examples):,} images")
    start = time.monotonic()
    done = prepare(
        splits,
        name=_NAME.value,
        version=_VERSION.value,
        data_dir=_DATA_DIR.value,
        fit=_fit(),
        unreadable=unreadable,
        num_processes=_PROCESSES.value,
        near_duplicates=_NEAR.value,
        about={"source": _about(source), "notes": notes, "rule": _rule()},
    )
    seconds = time.monotonic() - start
    rate = f"{done.num_encoded / seconds:,.0f} images/s, {_PROCESSES.value} processes"
    print(f"{done.num_encoded:,} images in {seconds:,.0f} s: {rate}")
    if done.skipped:
        record = done.folder / manifest.RECORD
        print(f"{len(done.skipped):,} unreadable images skipped: listed in {record}")
    for copies in done.copies:
        print(f"note: {copies}: see {done.folder / manifest.RECORD}")
    print(f"wrote {done.folder}; look at {done.folder / manifest.PREVIEW}")


def _verify() -> None:
    folder = _folder()
    kind = text_lines if (folder / "train.txt").exists() else manifest
    if wrong := kind.verify(folder):
        raise ValueError(f"{folder}: {'; '.join(wrong)}")
    about = json.loads((folder / manifest.RECORD).read_text())
    for split, found in about["splits"].items():
        print(f"{split}: {found['num_examples']:,} examples, as prepared")


def _folder() -> pathlib.Path:
    return pathlib.Path(_DATA_DIR.value).expanduser() / _NAME.value / _VERSION.value


def _splits() -> tuple[Source, Mapping[str, Examples]]:
    """The source, and its splits after the rules."""
    source: Any = _source()
    rules = [flag for flag in (_HOLD_OUT, _FIRST, _SPLIT_FILES) if flag.value]
    if len(rules) > 1:
        names = ", ".join(f"--{flag.name}" for flag in rules)
        raise ValueError(f"{names}: one of them, please")
    if rules and not source.splits() and hasattr(source, "flat"):
        source = dataclasses.replace(source, flat=True)
    splits: dict[str, Examples] = {
        split: source.open(split) for split in source.splits() or ("train",)
    }
    if rules:
        parts = _divided(splits.pop("train", None))
        if double := splits.keys() & parts.keys():
            raise ValueError(f"{', '.join(double)}: in the files already")
        splits = {**parts, **splits}
    renamed = _renamed(splits)
    if _STACK.value is None:
        if _STACK_PAD.value:
            raise ValueError("--stack_pad: only with --stack_passes")
        return source, renamed
    given = dict(passes=_STACK.value, pad=_STACK_PAD.value, seed=_SEED.value)
    return source, stack(renamed, **given)


def _source() -> Source:
    kind, root = flags.FLAGS["from"].value, _ROOT.value
    if kind is None or root is None:
        raise ValueError("--from and --root say what to prepare")
    known = {field.name for field in dataclasses.fields(KINDS[kind])}
    if _LABELS.value and "labels" not in known:
        raise ValueError(f"--labels: --from={kind} reads labels if there are any")
    if _FLAT.value and "flat" not in known:
        raise ValueError(f"--flat: --from={kind} does not read splits from names")
    if _IMAGE_ROOT.value and "image_root" not in known:
        raise ValueError(f"--image_root: --from={kind} names no files by paths")
    if kind == "npz":
        return Npz(train=root)
    wanted = (_LABELS, _FLAT, _IMAGE_ROOT, _MAX_PIXELS)
    given = [flag for flag in wanted if flag.value and flag.name in known]
    return KINDS[kind](root=root, **{flag.name: flag.value for flag in given})


def _divided(examples: Examples | None) -> Mapping[str, Examples]:
    if examples is None:
        raise ValueError("there is no split 'train' to divide")
    if _HOLD_OUT.value:
        fractions = _numbers(_HOLD_OUT, _fraction)
        return hold_out(examples, fractions, groups=_groups(), seed=_SEED.value)
    if _FIRST.value:
        return first(examples, _numbers(_FIRST, int))
    lists = {k: pathlib.Path(v).expanduser() for k, v in _pairs(_SPLIT_FILES).items()}
    return listed(examples, {k: read_list(path) for k, path in lists.items()})


def _numbers(flag: flags.FlagHolder[Any], number: Callable[[str], Any]) -> Any:
    """The number for each split of a flag.

    Raises:
      ValueError: as ``_pairs``, or no such number.
    """
    numbers = {}
    for split, text in _pairs(flag).items():
        try:
            numbers[split] = number(text)
        except ValueError as error:
            kind = "a whole number" if number is int else "a fraction, 0.2 or 20%"
            message = f"--{flag.name}: {split}={text!r} is not {kind}"
            raise ValueError(message) from error
    return numbers


def _fraction(text: str) -> float:
    """Of "0.2" or "20%".

    Raises:
      ValueError: no number, or none above 0 and below 1.
    """
    fraction = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 < fraction < 1:
        raise ValueError(text)
    return fraction


def _renamed(splits: Mapping[str, Examples]) -> Mapping[str, Examples]:
    names = _pairs(_RENAME)
    for old in names:
        if old not in splits:
            raise ValueError(f"--rename={old}: {nearest(old, splits)}")
    renamed = {names.get(split, split): part for split, part in splits.items()}
    if len(renamed) < len(splits):
        raise ValueError(f"--rename: two splits of one name, {', '.join(renamed)}")
    return renamed


def _pairs(flag: flags.FlagHolder[Any]) -> dict[str, str]:
    """The value for each split of a flag; "val" is a name of "validation".

    Raises:
      ValueError: a part without a value, or two of one split.
    """
    pairs: dict[str, str] = {}
    for part in flag.value:
        key, _, value = (word.strip() for word in part.partition("="))
        if not key or not value:
            expected = "expected split=value, several separated by commas"
            raise ValueError(f"--{flag.name}: {part!r} is incomplete, {expected}")
        name = split_name(key) or key
        if name in pairs:
            raise ValueError(f"--{flag.name}: {part!r} gives split {name!r} twice")
        pairs[name] = value
    return pairs


def _groups() -> np.ndarray | None:
    if _GROUP_BY.value is None:
        return None
    if flags.FLAGS["from"].value != "npz":
        raise ValueError("--group_by: an array in the npz, so only --from=npz has any")
    arrays = read_arrays(pathlib.Path(str(_ROOT.value)).expanduser())
    if _GROUP_BY.value not in arrays:
        raise ValueError(f"--group_by={_GROUP_BY.value}: {[*arrays]} are there")
    return arrays[_GROUP_BY.value]


def _fit() -> Fit | None:
    if _SHAPE.value is None:
        if _GREY.value or _RESIZE.value != "none":
            raise ValueError("--grey and --resize need --image_shape=h,w,c")
        return None
    if len(_SHAPE.value) != 3:
        raise ValueError(f"--image_shape={_SHAPE.value}: three numbers, h,w,c")
    try:
        h, w, c = map(int, _SHAPE.value)
    except ValueError as error:
        raise ValueError(
            f"--image_shape={_SHAPE.value}: three numbers, h,w,c"
        ) from error
    resize: Any = _RESIZE.value
    return Fit(
        image_shape=(h, w, c),
        grey=_GREY.value,
        resize=resize,
        enlarge=_ENLARGE.value,
    )


def _about(source: Any) -> dict[str, Any]:
    return {"kind": flags.FLAGS["from"].value} | dataclasses.asdict(source)


def _rule() -> dict[str, Any]:
    """How the splits came about: the flags that were given."""
    used = (_HOLD_OUT, _FIRST, _SPLIT_FILES, _RENAME)
    rule: dict[str, Any] = {f.name: _pairs(f) for f in used if f.value}
    if _HOLD_OUT.value:
        rule |= {"seed": _SEED.value, "group_by": _GROUP_BY.value}
    if _STACK.value is not None:
        rule |= {f.name: f.value for f in (_STACK, _STACK_PAD, _SEED)}
    return rule


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)

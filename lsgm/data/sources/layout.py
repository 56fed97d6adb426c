"""Which split and which class a file belongs to, by its path.

Images lie in folders named after splits, (1); files that hold many images carry
the split as a word of their path, (2), as Hugging Face and TensorFlow write them.

    train/cat/1.png   validation/cat/2.png   test/cat/3.png                     (1)
    data/train-00000-of-00004.parquet   val.lmdb   validation/r08.tfrecords     (2)

Where the paths name no split, ``flat`` says that all of them are split "train".
"""

import os
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from lsgm.data.errors import DataError

SPLITS = ("train", "validation", "test")
WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
HINT = "nothing names a split (train, validation, test); flat = True takes all as train"


def split_folder(path: str) -> str | None:
    """The split in whose folder ``path`` lies, as in (1)."""
    folder, _, rest = path.partition("/")
    return folder if rest and folder in SPLITS else None


def split_word(path: str) -> str | None:
    """The split that a word of the file's name, else of its folders, names, (2)."""
    words = (re.split(r"[^a-z]+", part) for part in reversed(path.lower().split("/")))
    return next((WORDS[w] for part in words for w in part if w in WORDS), None)


def holders(root: pathlib.Path, accept: Callable[[pathlib.Path], bool]) -> list[str]:
    """Paths below ``root``, sorted, of what ``accept`` takes, or ``root`` itself.

    Raises:
      DataError: there is no ``root``, or nothing that ``accept`` takes.
    """
    if not root.exists():
        raise DataError("root", str(root), "no such file or folder")
    found = [str(root)] if accept(root) else []
    if not found and root.is_dir():
        every = (p for p in root.rglob("*") if not _hidden(p.relative_to(root)))
        found = sorted(str(path) for path in every if accept(path))
    if not found:
        raise DataError("root", str(root), "holds no file of that kind")
    return found


def files_by_split(
    root: pathlib.Path, accept: Callable[[pathlib.Path], bool], *, flat: bool
) -> dict[str, list[str]]:
    """What ``holders`` finds, by the word of its path that names a split.

    Raises:
      DataError: as ``holders``; a path that names no split beside others that do.
    """
    found = holders(root, accept)
    if flat:
        return {"train": found}
    # A single file is named by itself, any other by its path below the root.
    below = root.parent if found == [str(root)] else root
    words = {path: split_word(os.path.relpath(path, below)) for path in found}
    nameless = [path for path, word in words.items() if word is None]
    if nameless and len(nameless) < len(found):
        message = "names no split (train, validation, test), though others there do"
        raise DataError("root", nameless[0], message)
    return {s: p for s in SPLITS if (p := [f for f in found if words[f] == s])}


def class_numbers(
    paths: Sequence[str], classes: Sequence[str], place: str
) -> np.ndarray:
    """Labels [n] of paths below ``place``: the number of their first folder.

    Raises:
      DataError: a path that lies in no folder.
    """
    number = {name: i for i, name in enumerate(classes)}
    for path in paths:
        if "/" not in path:
            message = f"{place}/{path} lies in no class folder"
            raise DataError("labels", True, message)
    return np.array([number[path.split("/")[0]] for path in paths], np.int32)


def without_common_folder(paths: Iterable[str]) -> list[str]:
    """``paths`` without the folders that all lie in, unless these name splits."""
    paths = list(paths)
    while len(heads := {path.partition("/")[0] for path in paths}) == 1:
        if heads & {*SPLITS} or any("/" not in path for path in paths):
            break
        paths = [path.partition("/")[2] for path in paths]
    return paths


def _hidden(path: pathlib.Path) -> bool:
    return any(part.startswith(".") for part in path.parts)

"""Which split and which class a file belongs to, by its path.

Images lie in folders named after splits, (1); files that hold many images carry
the split as a word of their path, (2), as Hugging Face and TensorFlow write them.

    train/cat/1.png   Val/cat/2.png   testing/3.png                             (1)
    data/train-00000-of-00004.parquet   val.lmdb   validation/r08.tfrecords     (2)

The names of a split are those of ``WORDS``, in any case. Where the paths name no
split, ``flat`` says that all of them are split "train".
"""

import collections
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from lsgm.data.errors import DataError
from lsgm.data.sources import tree

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
TOP = "."  # where files lie that lie in no folder


def split_name(name: str) -> str | None:
    """The split that ``name`` is a name of, in any case."""
    return WORDS.get(name.lower())


def split_folder(path: str) -> str | None:
    """The split in whose folder ``path`` lies, as in (1)."""
    folder, _, rest = path.partition("/")
    return split_name(folder) if rest else None


def split_words(path: str) -> list[str]:
    """The splits that words of the file's name, else of its folders, name, (2)."""
    for part in reversed(path.lower().split("/")):
        words = (WORDS.get(word) for word in re.split(r"[^a-z]+", part))
        if found := list(dict.fromkeys(filter(None, words))):
            return found
    return []


def folder_counts(paths: Iterable[str]) -> dict[str, int]:
    """How many of ``paths`` lie in each top folder; ``TOP`` in none."""
    heads = (path.partition("/")[0] if "/" in path else TOP for path in paths)
    return dict(collections.Counter(heads))


def require_plain_splits(paths: Iterable[str], root: str) -> None:
    """Raise a DataError where a folder that is not read as a split looks like one.

    Beside folders as in (1) that is a top folder such as "val2017"; where there are
    none, also a folder further down, or files "train_1.png" beside "test_1.png".
    """
    paths = list(paths)
    tops = folder_counts(paths)
    odd = [top for top in tops if split_words(top) and not split_name(top)]
    if not any(map(split_folder, paths)):
        folders = dict.fromkeys(path.rpartition("/")[0] for path in paths)
        odd += [f for f in folders if any(map(split_name, f.split("/")))]
        names = (split_words(path.rpartition("/")[2]) for path in paths)
        words = {word for found in names for word in found}
        odd += ["names of files"] if "train" in words and len(words) > 1 else []
    if odd:
        known = ", ".join(WORDS)
        message = (
            f"{odd[0]!r} looks like a split and is none: splits are the first folders, "
            f"named {known}; flat = True takes all as train"
        )
        raise DataError("root", root, message)


def folder_notes(paths: Iterable[str], *, flat: bool) -> list[str]:
    """Which folders are read as one split, and which are not read, in words."""
    counts = folder_counts(paths)
    merged: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    unused = {}
    for top, count in counts.items():
        split = "train" if flat else split_name(top)
        (merged[split] if split else unused)[f"in {top}"] = count
    notes = [
        f"{split} is made of {_shortened(parts)}"
        for split, parts in merged.items()
        if len(parts) > 1
    ]
    if unused:
        notes.append(f"images in no folder of a split, not used: {_shortened(unused)}")
    return notes


def holders(root: pathlib.Path, accept: Callable[[pathlib.Path], bool]) -> list[str]:
    """Paths below ``root``, sorted, of what ``accept`` takes, or ``root`` itself.

    Raises:
      DataError: there is no ``root``, or nothing that ``accept`` takes.
    """
    if not root.exists():
        raise DataError("root", str(root), "no such file or folder")
    if accept(root):
        return [str(root)]
    found = tree.walk(root, accept).taken if root.is_dir() else ()
    if not found:
        raise DataError("root", str(root), "holds no file of that kind")
    return [str(root / path) for path in found]


def holder_notes(
    root: pathlib.Path, accept: Callable[[pathlib.Path], bool]
) -> list[str]:
    """What ``holders`` does not give back, in words."""
    walked = root.is_dir() and not accept(root)
    return tree.walk(root, accept).notes() if walked else []


def files_by_split(
    root: pathlib.Path, accept: Callable[[pathlib.Path], bool], *, flat: bool
) -> dict[str, list[str]]:
    """What ``holders`` finds, by the word of its path that names a split.

    Raises:
      DataError: as ``holders``; a path that names no split beside others that do,
        or one that names two.
    """
    found = holders(root, accept)
    if flat:
        return {"train": found}
    # A single file is named by itself, any other by its path below the root.
    below = root.parent if found == [str(root)] else root
    words = {path: split_words(os.path.relpath(path, below)) for path in found}
    for path, named in words.items():
        if len(named) != 1 and any(words.values()):
            several = f"names several splits, {', '.join(named)}"
            none = "names no split (train, validation, test), though others there do"
            raise DataError("root", path, several if named else none)
    return {s: p for s in SPLITS if (p := [f for f in found if words[f] == [s]])}


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
        if any(map(split_name, heads)) or any("/" not in path for path in paths):
            break
        paths = [path.partition("/")[2] for path in paths]
    return paths


def _shortened(parts: dict[str, int]) -> str:
    if len(parts) <= tree.SHOWN:
        return tree.counted(parts)
    largest = sorted(parts, key=lambda name: (-parts[name], name))[: tree.SHOWN]
    rest = f"{sum(parts.values())} in {len(parts)} folders, "
    return f"{rest}most of them {tree.counted({k: parts[k] for k in largest})}"

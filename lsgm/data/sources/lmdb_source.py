"""LMDB: a data base of images, one entry each, under any keys.

    root/train.lmdb   root/validation.lmdb   root/test.lmdb

each a folder with a ``data.mdb``, or a single file. Values are encoded images, or all
of them the 3 s^2 bytes of a square colour image [s, s, 3], as NVAE and LSGM keep
CelebA-HQ: a few values tell which, as the first bytes of one may lie.
Keys that are all whole numbers count in their order, others in that of their bytes.
Needs the extra ``.[lmdb]``.
"""

import dataclasses
import functools
import math
import os
import pathlib
from typing import Any, ClassVar

import numpy as np

from lsgm.data.errors import DataError
from lsgm.data.sources import image_file
from lsgm.data.sources.base import require_split
from lsgm.data.sources.image_file import MAX_PIXELS
from lsgm.data.sources.layout import HINT, files_by_split, holder_notes
from lsgm.data.sources.stored import StoredExamples
from lsgm.optional import MissingExtra, require

LOOKED_AT = 16  # values of a data base, to tell what it holds


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LMDBExamples(StoredExamples):
    """Entries of one split: (data base, key); ``raw`` data bases hold pixels."""

    entries: tuple[tuple[str, bytes], ...]
    raw: frozenset[str] = frozenset()
    labels: None = None

    def __len__(self) -> int:
        return len(self.entries)

    def stored(self, i: int) -> bytes | np.ndarray:
        path, key = self.entries[i]
        with opened(path).begin() as transaction:
            value = transaction.get(key)
        return self._raw(value, i) if path in self.raw else value

    def name(self, i: int) -> str:
        path, key = self.entries[i]
        return f"{path}/{key.decode(errors='backslashreplace')}"

    def _raw(self, value: bytes, i: int) -> np.ndarray:
        size = _side(value)
        if not size:
            message = f"{len(value)} bytes are no 3 s^2 pixels, as others there"
            raise DataError("root", self.name(i), message)
        return np.frombuffer(value, np.uint8).reshape(size, size, 3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LMDB:
    """All data bases below ``root``, in the order of their paths.

    Attributes:
      root: a data base, or a folder of some; ``~`` is expanded.
      flat: names say no split; everything is split "train".
      max_pixels: an encoded image of more is an error.
    """

    prepared: ClassVar[bool] = False

    root: str
    flat: bool = False
    max_pixels: int = dataclasses.field(default=MAX_PIXELS, repr=False)

    def splits(self) -> tuple[str, ...]:
        return tuple(self._files())

    def open(self, split: str) -> LMDBExamples:
        files = self._files()
        if not files:
            raise DataError("root", self.root, HINT)
        require_split(split, files, self.root)
        keys = {path: _keys(path) for path in files[split]}
        entries = [(path, key) for path, found in keys.items() for key in found]
        if not entries:
            raise DataError("root", self.root, "holds no entry")
        raw = frozenset(path for path, found in keys.items() if _is_raw(path, found))
        return LMDBExamples(entries=tuple(entries), raw=raw, max_pixels=self.max_pixels)

    def notes(self) -> list[str]:
        """What lies below the root and is not read, in words."""
        return holder_notes(pathlib.Path(self.root).expanduser(), _is_lmdb)

    def _files(self) -> dict[str, list[str]]:
        root = pathlib.Path(self.root).expanduser()
        return files_by_split(root, _is_lmdb, flat=self.flat)


@functools.cache
def opened(path: str) -> Any:
    """One handle a process: LMDB forbids a second.

    Raises:
      DataError: the package is missing, or this is no data base.
    """
    try:
        lmdb = require("lmdb", "lmdb", "reading it")
    except MissingExtra as error:
        raise DataError("root", path, str(error)) from error
    try:
        folder = os.path.isdir(path)
        return lmdb.open(path, subdir=folder, readonly=True, lock=False)
    except lmdb.Error as error:
        message = f"unreadable LMDB: {error}"
        raise DataError("root", path, message) from error


def _keys(path: str) -> list[bytes]:
    with opened(path).begin() as transaction:
        keys = list(transaction.cursor().iternext(values=False))
    return sorted(keys, key=int) if all(key.isdigit() for key in keys) else keys


def _is_raw(path: str, keys: list[bytes]) -> bool:
    """Whether most of some values have the length of pixels and are no images."""
    looked = keys[:: max(1, len(keys) // LOOKED_AT)]
    with opened(path).begin() as transaction:
        values = [transaction.get(key) for key in looked]
    raw = [bool(_side(value)) and not _is_encoded(value) for value in values]
    return 2 * sum(raw) > len(raw)


def _is_encoded(value: bytes) -> bool:
    try:
        image_file.pixels(value, "")
    except DataError:
        return False
    return True


def _side(value: bytes) -> int:
    """s, if ``value`` has 3 s^2 bytes; else 0."""
    size = math.isqrt(len(value) // 3)
    return size if 3 * size**2 == len(value) else 0


def _is_lmdb(path: pathlib.Path) -> bool:
    file = path.is_file() and path.suffix == ".lmdb"
    return file or (path / "data.mdb").is_file()

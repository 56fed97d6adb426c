"""The four IDX files of MNIST and Fashion-MNIST, gzipped or not.

IDX: two zero bytes, a type byte (8: uint8), the number of dimensions, each
dimension as a big-endian 32-bit integer, then the values (LeCun's format).
"""

import dataclasses
import gzip
import io
import math
import pathlib
import zlib
from typing import ClassVar

import numpy as np

from lsgm.data.errors import DataError
from lsgm.data.sources.arrays import ArrayExamples
from lsgm.data.sources.base import require_split
from lsgm.limits import require_ratio

PREFIXES = {"train": "train", "test": "t10k"}
UINT8 = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class IDX:
    """``{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]`` in folder ``root``."""

    prepared: ClassVar[bool] = True

    root: str

    def splits(self) -> tuple[str, ...]:
        return tuple(PREFIXES)

    def open(self, split: str) -> ArrayExamples:
        require_split(split, self.splits(), self.root)
        images, path = self._read(f"{PREFIXES[split]}-images-idx3-ubyte", 3)
        labels, _ = self._read(f"{PREFIXES[split]}-labels-idx1-ubyte", 1)
        if len(labels) != len(images):
            message = f"{len(labels)} labels for the {len(images)} images of {path}"
            raise DataError("root", self.root, message)
        return ArrayExamples(images=images[..., None], labels=labels, place=str(path))

    def _read(self, name: str, rank: int) -> tuple[np.ndarray, pathlib.Path]:
        folder = pathlib.Path(self.root).expanduser()
        found = [p for p in (folder / name, folder / f"{name}.gz") if p.is_file()]
        if not found:
            message = f"no {name} or {name}.gz in {folder}"
            raise DataError("root", self.root, message)
        path = found[0]
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                return parse(file, path.stat().st_size, rank), path
        except (ValueError, OSError, EOFError, zlib.error) as error:
            message = f"unreadable: {error}"
            raise DataError("root", str(path), message) from error


def parse(file: io.BufferedIOBase, stored: int, rank: int) -> np.ndarray:
    """The uint8 array of an IDX file.

    Args:
      file: gives the unpacked bytes; it is asked for as many as the header says.
      stored: bytes that it takes on disk.

    Raises:
      ValueError: another type or rank, another length than the header says, or one far
        beyond what is stored.
    """
    if file.read(4) != bytes([0, 0, UINT8, rank]):
        raise ValueError(f"not an IDX file of bytes in {rank} dimensions")
    shape = [int(n) for n in np.frombuffer(file.read(4 * rank), ">u4")]
    size = math.prod(shape)
    require_ratio(size, stored)
    raw = file.read(size)
    rest = len(file.read(1))
    if len(shape) != rank or len(raw) != size or rest:
        there = "more" if rest else f"{len(raw)}"
        raise ValueError(f"header says {shape}, but there are {there} bytes")
    return np.frombuffer(raw, np.uint8).reshape(shape)

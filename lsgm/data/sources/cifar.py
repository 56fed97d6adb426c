"""CIFAR-10 from its "binary version": six files of 10,000 records.

    one byte of label | 3,072 bytes, channels first: [3, 32, 32]               (1)

Source: https://www.cs.toronto.edu/~kriz/cifar.html
"""

import dataclasses
import pathlib
from typing import ClassVar

import numpy as np

from lsgm.data.errors import DataError
from lsgm.data.sources.base import require_split
from lsgm.data.sources.stored import StoredExamples

FILES = {
    "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test": ("test_batch.bin",),
}
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CIFARExamples(StoredExamples):
    """Records of one split, (1): (file, number in it)."""

    records: tuple[tuple[str, int], ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.records)

    def stored(self, i: int) -> np.ndarray:
        path, row = self.records[i]
        raw = np.fromfile(path, np.uint8, count=RECORD - 1, offset=RECORD * row + 1)
        return raw.reshape(SHAPE).transpose(1, 2, 0)

    def name(self, i: int) -> str:
        path, row = self.records[i]
        return f"{path}[{row}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CIFAR10:
    """``data_batch_{1..5}.bin`` and ``test_batch.bin`` in folder ``root``."""

    prepared: ClassVar[bool] = True

    root: str

    def splits(self) -> tuple[str, ...]:
        return tuple(FILES)

    def open(self, split: str) -> CIFARExamples:
        require_split(split, self.splits(), self.root)
        paths = [pathlib.Path(self.root).expanduser() / n for n in FILES[split]]
        labels = [_labels(path) for path in paths]
        return CIFARExamples(
            records=tuple(
                (str(path), row)
                for path, found in zip(paths, labels, strict=True)
                for row in range(len(found))
            ),
            labels=np.concatenate(labels),
        )


def _labels(path: pathlib.Path) -> np.ndarray:
    """Labels [n] of a file.

    Raises:
      DataError: no such file, or not made of such records.
    """
    if not path.is_file():
        raise DataError("root", str(path.parent), f"no {path.name} there")
    size = path.stat().st_size
    if not size or size % RECORD:
        message = f"{size} bytes are no whole number of records of {RECORD}"
        raise DataError("root", str(path), message)
    return np.array(np.memmap(path, np.uint8, "r")[::RECORD])

"""Images in arrays: the examples of a set that is held in memory, and npz files."""

import dataclasses
import pathlib
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Integer, UInt8

from lsgm.arrays import read_arrays
from lsgm.data.errors import DataError
from lsgm.data.fit import channel_fault
from lsgm.data.sources.base import require_split
from lsgm.data.sources.labels import class_number, class_numbers_by_row


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ArrayExamples:
    """Images and labels side by side; ``place`` says where they came from."""

    images: UInt8[np.ndarray, "n h w c"]
    labels: Integer[np.ndarray, " n"] | None = None
    place: str

    def __post_init__(self) -> None:
        if self.labels is None:
            return
        try:
            class_numbers_by_row(self.labels)
        except ValueError as error:
            raise DataError("labels", self.place, str(error)) from error

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> dict[str, Any]:
        image = {"image": self.images[i]}
        if self.labels is None:
            return image
        return image | {"label": class_number(self.labels[i])}

    def shape(self, i: int) -> tuple[int, int, int]:
        _, h, w, c = self.images.shape
        return h, w, c

    def name(self, i: int) -> str:
        return f"{self.place}[{i}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Npz:
    """One npz file per split: ``x`` uint8 [n h w] or [n h w c], c 1 or 3, perhaps
    ``y`` [n] or [n 1].

    An empty path says that the split does not exist.
    """

    prepared: ClassVar[bool] = True

    train: str = ""
    validation: str = ""
    test: str = ""

    def splits(self) -> tuple[str, ...]:
        names = ("train", "validation", "test")
        return tuple(name for name in names if getattr(self, name))

    def open(self, split: str) -> ArrayExamples:
        require_split(split, self.splits(), "this source")
        path = getattr(self, split)
        images, labels = read_npz(pathlib.Path(path).expanduser(), split)
        return ArrayExamples(images=images, labels=labels, place=path)


def read_npz(path: pathlib.Path, split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """``x`` as [n h w c] and ``y`` (or None) of an npz file.

    Raises:
      DataError: the file is missing, no npz, or holds something else.
    """
    if not path.is_file():
        raise DataError(split, str(path), "no such file")
    try:
        arrays = read_arrays(path)
    except (ValueError, OSError) as error:
        raise DataError(split, str(path), str(error)) from error
    if "x" not in arrays:
        found = ", ".join(sorted(arrays))
        raise DataError(split, str(path), f"needs an array 'x', holds {found}")
    images, labels = arrays["x"], arrays.get("y")
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images):
        message = f"'x' must be uint8 [n h w] or [n h w c], is {_describe(images)}"
        raise DataError(split, str(path), message)
    if images.ndim == 3 and images.shape[2] == 3:
        message = f"'x' {_describe(images)} looks like one image: [n h w c], please"
        raise DataError(split, str(path), message)
    images = images if images.ndim == 4 else images[..., None]
    if fault := channel_fault(images.shape[1:]):
        raise DataError(split, str(path), f"'x' {_describe(images)}: {fault}")
    if labels is None:
        return images, None
    if not _fits(labels, len(images)):
        message = f"'y' must be {len(images)} integers, is {_describe(labels)}"
        raise DataError(split, str(path), message)
    try:
        return images, class_numbers_by_row(labels)
    except ValueError as error:
        raise DataError(split, str(path), f"'y', {error}") from error


def _fits(labels: np.ndarray, n: int) -> bool:
    return labels.shape in ((n,), (n, 1)) and np.issubdtype(labels.dtype, np.integer)


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"

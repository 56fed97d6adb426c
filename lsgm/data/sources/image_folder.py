"""A folder of PNG, JPEG or WebP files, one sub-folder per split.

    root/train/...   root/validation/...   root/test/...

Files are found at any depth and taken in the order of their paths, "10.png" before
"2.png".
"""

import dataclasses
import os
import pathlib
from typing import ClassVar

import numpy as np

from lsgm.data.errors import DataError
from lsgm.data.sources import image_file
from lsgm.data.sources.base import require_split
from lsgm.data.sources.layout import HINT, SPLITS, class_numbers
from lsgm.data.sources.stored import StoredExamples


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FolderExamples(StoredExamples):
    """The files of one split; ``labels`` [n] counts classes in alphabetic order."""

    paths: tuple[str, ...]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.paths)

    def stored(self, i: int) -> str:
        return self.paths[i]

    def name(self, i: int) -> str:
        return self.paths[i]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Files under ``root/<split>``.

    Attributes:
      root: the folder; ``~`` is expanded.
      labels: the sub-folder of the split that a file lies in is its class.
      flat: there are no folders of splits; all of ``root`` is split "train".
    """

    prepared: ClassVar[bool] = False

    root: str
    labels: bool = False
    flat: bool = False

    def splits(self) -> tuple[str, ...]:
        if self.flat:
            return ("train",)
        return tuple(s for s in SPLITS if (self._folder / s).is_dir())

    def open(self, split: str) -> FolderExamples:
        if not self._folder.is_dir():
            raise DataError("root", self.root, "no such folder")
        if not self.splits():
            raise DataError("root", self.root, HINT)
        require_split(split, self.splits(), str(self._folder))
        folder = self._of(split)
        paths = _files(folder)
        if not paths:
            message = f"no {', '.join(image_file.SUFFIXES)} file in {folder}"
            raise DataError("root", self.root, message)
        labels = self._label(folder, paths) if self.labels else None
        return FolderExamples(paths=paths, labels=labels)

    def classes(self) -> tuple[str, ...]:
        """Names of the classes: the same numbers in every split."""
        folders = (e for split in self.splits() for e in self._of(split).iterdir())
        return tuple(
            sorted({e.name for e in folders if e.is_dir() and e.name[0] != "."})
        )

    @property
    def _folder(self) -> pathlib.Path:
        return pathlib.Path(self.root).expanduser()

    def _of(self, split: str) -> pathlib.Path:
        return self._folder if self.flat else self._folder / split

    def _label(self, folder: pathlib.Path, paths: tuple[str, ...]) -> np.ndarray:
        below = [pathlib.Path(path).relative_to(folder).as_posix() for path in paths]
        return class_numbers(below, self.classes(), str(folder))


def _files(folder: pathlib.Path) -> tuple[str, ...]:
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [os.path.join(parent, n) for n in names if image_file.is_image(n)]
    return tuple(sorted(found))

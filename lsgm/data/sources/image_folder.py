"""A folder of image files, one sub-folder per split.

    root/train/...   root/validation/...   root/test/...

Split names are those of ``layout.WORDS``. Files are found at any depth and taken in
the order of their paths, "10.png" before "2.png".
"""

import dataclasses
import functools
import os
import pathlib
from typing import ClassVar

import numpy as np

from lsgm.data.errors import DataError
from lsgm.data.sources import image_file, tree
from lsgm.data.sources.base import require_split
from lsgm.data.sources.image_file import MAX_PIXELS
from lsgm.data.sources.layout import (
    HINT,
    SPLITS,
    class_numbers,
    folder_notes,
    require_plain_splits,
    split_folder,
    split_name,
)
from lsgm.data.sources.stored import StoredExamples


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FolderExamples(StoredExamples):
    """The files of one split; ``labels`` [n] counts classes in alphabetic order."""

    paths: tuple[str, ...]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.paths)

    def stored(self, i: int) -> pathlib.Path:
        return pathlib.Path(self.paths[i])

    def name(self, i: int) -> str:
        return self.paths[i]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Files under ``root/<split>``.

    Attributes:
      root: the folder; ``~`` is expanded.
      labels: the sub-folder of the split that a file lies in is its class.
      flat: there are no folders of splits; all of ``root`` is split "train".
      max_pixels: an encoded image of more is an error.
    """

    prepared: ClassVar[bool] = False

    root: str
    labels: bool = False
    flat: bool = False
    max_pixels: int = dataclasses.field(default=MAX_PIXELS, repr=False)

    def splits(self) -> tuple[str, ...]:
        if self.flat:
            return ("train",)
        if not self._folder.is_dir():
            return ()
        require_plain_splits(self._tree.taken, self.root)
        # A split without images is there, and wrong.
        there = {split_name(folder) for folder in self._tree.folders}
        return tuple(split for split in SPLITS if split in there)

    def open(self, split: str) -> FolderExamples:
        if not self._folder.is_dir():
            raise DataError("root", self.root, "no such folder")
        if not self.splits():
            raise DataError("root", self.root, HINT)
        require_split(split, self.splits(), str(self._folder))
        paths = self._of(split)
        if not paths:
            place = self._folder if self.flat else self._folder / split
            message = f"no {', '.join(image_file.SUFFIXES)} file in {place}"
            raise DataError("root", self.root, message)
        return FolderExamples(
            paths=tuple(os.path.join(self._folder, path) for path in paths),
            labels=self._labels(paths) if self.labels else None,
            max_pixels=self.max_pixels,
        )

    def classes(self) -> tuple[str, ...]:
        """Names of the classes: the same numbers in every split."""
        depth = 0 if self.flat else 1
        found = (folder.split("/") for folder in self._tree.folders - {""})
        return tuple(
            sorted(
                {
                    parts[depth]
                    for parts in found
                    if len(parts) > depth and (self.flat or split_name(parts[0]))
                }
            )
        )

    def notes(self) -> list[str]:
        """What a user should know of the folder, in words: images and files that are
        not read, links, folders that are read as one split."""
        if not self._folder.is_dir():
            return []
        return folder_notes(self._tree.taken, flat=self.flat) + self._tree.notes()

    @property
    def _folder(self) -> pathlib.Path:
        return pathlib.Path(self.root).expanduser()

    @functools.cached_property
    def _tree(self) -> tree.Tree:
        return tree.walk(self._folder, _is_image_file)

    def _of(self, split: str) -> list[str]:
        """Paths below the root of the images of a split."""
        taken = self._tree.taken
        return [p for p in taken if self.flat or split_folder(p) == split]

    def _labels(self, paths: list[str]) -> np.ndarray:
        if self.flat:
            return class_numbers(paths, self.classes(), str(self._folder))
        parts = [path.partition("/") for path in paths]
        below = [rest for _, _, rest in parts]
        return class_numbers(below, self.classes(), f"{self._folder}/{parts[0][0]}")


def _is_image_file(path: pathlib.Path) -> bool:
    return image_file.is_image(path.name) and path.is_file()

"""A folder of PNG, JPEG or WebP files, one sub-folder per split.

    root/train/...   root/validation/...   root/test/...

Files are found at any depth and taken in the order of their paths.
"""

import dataclasses
import os
import pathlib
from typing import Any, ClassVar

import numpy as np

from lsgm.config import ConfigError
from lsgm.data import image_file
from lsgm.data.base import require_split

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FolderExamples:
    """The files of one split; ``labels`` [n] counts classes in alphabetic order."""

    paths: tuple[str, ...]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> dict[str, Any]:
        path = self.paths[i]
        example: dict[str, Any] = {"image": image_file.pixels(path, path)}
        if self.labels is not None:
            example["label"] = self.labels[i]
        return example

    def shape(self, i: int) -> tuple[int, int, int]:
        return image_file.shape(self.paths[i], self.paths[i])

    def name(self, i: int) -> str:
        return self.paths[i]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Files under ``root/<split>``.

    Attributes:
      root: the folder; ``~`` is expanded.
      labels: the sub-folder of the split that a file lies in is its class.
    """

    prepared: ClassVar[bool] = False

    root: str
    labels: bool = False

    def splits(self) -> tuple[str, ...]:
        return tuple(s for s in SPLITS if (self._folder / s).is_dir())

    def open(self, split: str) -> FolderExamples:
        if not self._folder.is_dir():
            raise ConfigError("data.source.root", self.root, "no such folder")
        if not self.splits():
            message = f"{self._folder} has no sub-folder {', '.join(SPLITS)}"
            raise ConfigError("data.source.root", self.root, message)
        require_split(split, self.splits(), str(self._folder))
        folder = self._folder / split
        paths = _files(folder)
        if not paths:
            message = f"no {', '.join(image_file.SUFFIXES)} file in {folder}"
            raise ConfigError("data.source.root", self.root, message)
        labels = self._label(folder, paths) if self.labels else None
        return FolderExamples(paths=paths, labels=labels)

    def classes(self) -> tuple[str, ...]:
        """Names of the classes: the same numbers in every split."""
        splits = [self._folder / split for split in self.splits()]
        folders = (entry for split in splits for entry in split.iterdir())
        return tuple(
            sorted({e.name for e in folders if e.is_dir() and e.name[0] != "."})
        )

    @property
    def _folder(self) -> pathlib.Path:
        return pathlib.Path(self.root).expanduser()

    def _label(self, folder: pathlib.Path, paths: tuple[str, ...]) -> np.ndarray:
        number = {name: i for i, name in enumerate(self.classes())}
        parts = [pathlib.Path(path).relative_to(folder).parts for path in paths]
        for path, part in zip(paths, parts, strict=True):
            if len(part) < 2:
                message = f"{path} lies in no class folder below {folder}"
                raise ConfigError("data.source.labels", True, message)
        return np.array([number[part[0]] for part in parts], np.int32)


def _files(folder: pathlib.Path) -> tuple[str, ...]:
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [os.path.join(parent, n) for n in names if image_file.is_image(n)]
    return tuple(sorted(found))

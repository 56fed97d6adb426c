"""A folder of PNG, JPEG or WebP files, one sub-folder per split.

    root/train/...   root/validation/...   root/test/...

Files are found at any depth and taken in the order of their paths. Transparent
pixels become white; grey files give one channel, all others three.
"""

import dataclasses
import os
import pathlib
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageOps

from lsgm.config import ConfigError
from lsgm.data.base import require_split

SPLITS = ("train", "validation", "test")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
GREY_MODES = ("1", "L", "LA", "La")
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
EXIF_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FolderExamples:
    """The files of one split; ``labels`` [n] counts classes in alphabetic order."""

    paths: tuple[str, ...]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> dict[str, Any]:
        with _opened(self.paths[i]) as image:
            example: dict[str, Any] = {"image": _pixels(image)}
        if self.labels is not None:
            example["label"] = self.labels[i]
        return example

    def shape(self, i: int) -> tuple[int, int, int]:
        with _opened(self.paths[i]) as image:
            width, height = image.size
            # Orientations 5 to 8 lie on their side.
            if image.getexif().get(EXIF_ORIENTATION, 1) > 4:
                width, height = height, width
            return height, width, 1 if _mode(image) == "L" else 3

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
            message = f"no {', '.join(SUFFIXES)} file in {folder}"
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
        # Hidden ones are leavings of file managers ("._1.png"), not images.
        folders[:] = [name for name in folders if name[0] != "."]
        found += [
            os.path.join(parent, name)
            for name in names
            if name.lower().endswith(SUFFIXES) and name[0] != "."
        ]
    return tuple(sorted(found))


class _opened:
    """A file as a Pillow image; what goes wrong while it is open names the file."""

    def __init__(self, path: str):
        self.path = path

    def __enter__(self) -> Image.Image:
        try:
            self.image = Image.open(self.path)
        except Exception as error:
            raise self._unreadable(error) from error
        return self.image

    def __exit__(self, kind, error, trace) -> None:
        self.image.close()
        if isinstance(error, Exception):
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> ConfigError:
        return ConfigError("data.source.root", self.path, f"unreadable image: {error}")


def _mode(image: Image.Image) -> str:
    """The mode it is read in: L (grey) or RGB."""
    if image.mode in DEEP_MODES:
        raise ValueError(f"mode {image.mode} has more than 8 bits per channel")
    return "L" if image.mode in GREY_MODES else "RGB"


def _pixels(image: Image.Image) -> np.ndarray:
    mode = _mode(image)
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    pixels = np.asarray(image.convert(mode))
    return pixels[..., None] if mode == "L" else pixels

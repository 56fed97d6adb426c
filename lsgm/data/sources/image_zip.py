"""Zips of image files, read in place.

A zip is read as the folder that it would unpack to; a folder of zips as though each
were unpacked into a folder of its own name. Folders that everything lies in do not
count, so these name the same splits:

    faces.zip: faces/train/1.png, faces/test/2.png
    faces/train.zip: 1.png        faces/test.zip: 2.png
"""

import collections
import dataclasses
import functools
import os
import pathlib
import zipfile
import zlib
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
    holder_notes,
    holders,
    require_plain_splits,
    split_folder,
    without_common_folder,
)
from lsgm.data.sources.stored import StoredExamples
from lsgm.limits import TooLargeError, require_ratio

DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    KeyError,
    RuntimeError,  # encrypted
    NotImplementedError,  # an unknown way of packing
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ZipExamples(StoredExamples):
    """The files of one split: (zip, name inside it)."""

    members: tuple[tuple[str, str], ...]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.members)

    def stored(self, i: int) -> bytes:
        archive, name = self.members[i]
        try:
            about = opened(archive).getinfo(name)
            require_ratio(about.file_size, about.compress_size)
            return opened(archive).read(name)
        except (*DAMAGED, TooLargeError) as error:
            message = f"unreadable: {error}"
            raise DataError("root", self.name(i), message) from error

    def name(self, i: int) -> str:
        return "/".join(self.members[i])


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageZip:
    """Images in a zip, or in the zips of a folder, in the order of their paths.

    Attributes:
      root: the zip, or the folder; ``~`` is expanded.
      labels: the sub-folder of the split that a file lies in is its class.
      flat: there are no folders of splits; everything is split "train".
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
        require_plain_splits(self._members, self.root)
        found = {split_folder(path) for path in self._members}
        return tuple(split for split in SPLITS if split in found)

    def open(self, split: str) -> ZipExamples:
        if not self._members:
            message = f"no {', '.join(image_file.SUFFIXES)} file inside"
            raise DataError("root", self.root, message)
        if not self.splits():
            raise DataError("root", self.root, HINT)
        require_split(split, self.splits(), self.root)
        below = self._below(split)
        labels = None
        if self.labels:
            paths = [path for path, _ in below]
            labels = class_numbers(paths, self.classes(), f"{self.root}/{split}")
        return ZipExamples(
            members=tuple(member for _, member in below),
            labels=labels,
            max_pixels=self.max_pixels,
        )

    def classes(self) -> tuple[str, ...]:
        """Names of the classes: the same numbers in every split."""
        paths = (path for split in self.splits() for path, _ in self._below(split))
        return tuple(sorted({p.split("/")[0] for p in paths if "/" in p}))

    def notes(self) -> list[str]:
        """What a user should know of the zips, in words: images and files that are not
        read, folders that are read as one split."""
        root = pathlib.Path(self.root).expanduser()
        names = (name for zip_ in holders(root, _is_zip) for name in _names(zip_))
        others = collections.Counter(
            pathlib.PurePosixPath(name).suffix.lower() or "without suffix"
            for name in names
            if not name.endswith("/") and not image_file.is_image(name)
        )
        left = tree.Tree(taken=(), folders=frozenset(), left_out=dict(others), links=())
        notes = folder_notes(self._members, flat=self.flat) + left.notes()
        return notes + holder_notes(root, _is_zip)

    def _below(self, split: str) -> list[tuple[str, tuple[str, str]]]:
        """Members of a split, each after its path below it, in the order of paths."""
        members = sorted(self._members.items())
        if self.flat:
            return members
        mine = [(p, m) for p, m in members if split_folder(p) == split]
        return [(path.partition("/")[2], member) for path, member in mine]

    @functools.cached_property
    def _members(self) -> dict[str, tuple[str, str]]:
        """(zip, name inside it) of every image, by the path that it unpacks to."""
        root = pathlib.Path(self.root).expanduser()
        found = {}
        for archive in holders(root, _is_zip):
            # Beside other zips, each unpacks into a folder of its name.
            above = os.path.relpath(archive, root)[: -len(".zip")]
            for name in filter(image_file.is_image, _names(archive)):
                path = name.replace("\\", "/")
                found[path if root.is_file() else f"{above}/{path}"] = (archive, name)
        return dict(zip(without_common_folder(found), found.values(), strict=True))


@functools.cache
def opened(archive: str) -> zipfile.ZipFile:
    """One handle a process, which its threads share: reading the directory of a zip
    of 30,000 files takes a quarter of a second."""
    return zipfile.ZipFile(archive)


def _names(archive: str) -> list[str]:
    try:
        return opened(archive).namelist()
    except DAMAGED as error:
        message = f"unreadable zip: {error}"
        raise DataError("root", archive, message) from error


def _is_zip(path: pathlib.Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".zip"

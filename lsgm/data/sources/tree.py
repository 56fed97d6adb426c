"""What lies below a folder: each real file once, each real folder once.

What is hidden (".cache", "._1.png") does not count. Links are followed after all that
is no link, so that a file goes by its own name where it has one below the root.
"""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Callable

from lsgm.data.errors import DataError

SHOWN = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tree:
    """Paths below a root, with "/" between their parts.

    Attributes:
      taken: files and folders that were asked for, in the order of their paths.
      folders: folders that were looked into.
      left_out: numbers of files that were not asked for, by suffix.
      links: links that were not followed, each with the reason.
    """

    taken: tuple[str, ...]
    folders: frozenset[str]
    left_out: dict[str, int]
    links: tuple[str, ...]

    def notes(self) -> list[str]:
        """What a user should know that was not read, in words."""
        notes = []
        if self.left_out:
            notes.append(f"left out, by suffix: {counted(self.left_out)}")
        if self.links:
            more = len(self.links) - SHOWN
            rest = f"; and {more} more" if more > 0 else ""
            listed = "; ".join(self.links[:SHOWN])
            notes.append(f"{len(self.links)} links not followed: {listed}{rest}")
        return notes


def counted(numbers: dict[str, int]) -> str:
    """``numbers`` in words, the largest first: "6 .bmp, 1 .tif"."""
    order = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {name}" for name, count in order)


def walk(root: pathlib.Path, accept: Callable[[pathlib.Path], bool]) -> Tree:
    """All below ``root`` that ``accept`` takes; a folder that it takes is not entered.

    Raises:
      DataError: a folder cannot be read.
    """
    walker = _Walker(root, accept)
    walker.enter("")
    while walker.links:
        walker.follow(walker.links.popleft())
    return Tree(
        taken=tuple(sorted(walker.taken)),
        folders=frozenset(walker.folders),
        left_out=dict(walker.left_out),
        links=tuple(walker.told),
    )


class _Walker:
    """The state of a walk; ``links`` are those still to follow."""

    def __init__(self, root: pathlib.Path, accept: Callable[[pathlib.Path], bool]):
        self.root, self.accept = root, accept
        self.taken: list[str] = []
        self.folders: list[str] = []
        self.left_out: collections.Counter[str] = collections.Counter()
        self.links: collections.deque[str] = collections.deque()
        self.told: list[str] = []
        self.seen: dict[object, str] = {}

    def enter(self, folder: str) -> None:
        """Take what lies in a folder and below it; put links aside."""
        stack = [folder]
        while stack:
            below = stack.pop()
            self.seen[_identity(self.root / below)] = below or "."
            self.folders.append(below)
            for entry in self._entries(below):
                path = f"{below}/{entry.name}" if below else entry.name
                if entry.is_symlink():
                    self.links.append(path)
                elif self._take(path):
                    stack.append(path)

    def follow(self, link: str) -> None:
        """Take what a link leads to, unless it was taken before."""
        target = self.root / link
        arrow = f"{link} -> {os.readlink(target)}"
        if not target.exists():
            self.told.append(f"{arrow} leads nowhere")
        elif target.is_dir() and self.root.resolve().is_relative_to(target.resolve()):
            self.told.append(f"{arrow} holds this folder itself")
        elif before := self.seen.get(_identity(target)):
            self.told.append(f"{arrow} is {before}")
        elif self._take(link):
            self.enter(link)

    def _entries(self, below: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / below) as found:
                entries = [entry for entry in found if entry.name[0] != "."]
        except OSError as error:
            message = f"unreadable folder: {error.strerror}"
            raise DataError("root", str(self.root / below), message) from error
        return sorted(entries, key=lambda entry: entry.name)

    def _take(self, path: str) -> bool:
        """Take a path, once; returns whether it is a folder to enter."""
        full = self.root / path
        if self.accept(full):
            identity = _identity(full)
            if identity in self.seen:  # a hard link
                self.told.append(f"{path} is {self.seen[identity]}")
                return False
            self.seen[identity] = path
            self.taken.append(path)
            return False
        if full.is_dir():
            return True
        kind = full.suffix.lower() or "without suffix"
        self.left_out[kind if full.is_file() else f"{kind} (no regular file)"] += 1
        return False


def _identity(path: pathlib.Path) -> object:
    """The same for all names of one file or folder."""
    about = path.stat()
    # Some file systems do not number their files.
    return (about.st_dev, about.st_ino) if about.st_ino else os.path.realpath(path)

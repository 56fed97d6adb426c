"""Flags that name folders and files, checked as they are read.

A path on the command line is one of this machine's file systems. ``~`` is the home
folder, also where a shell leaves it as it is (``--workdir=~/run``).
"""

import os
import pathlib
from typing import Any

from absl import flags

from lsgm.runs import packaged


class PathParser(flags.ArgumentParser):
    """From text to a path that can be used.

    Attributes:
      writes: the path is a folder that is written into, and made if missing.
    """

    syntactic_help = "a path"

    def __init__(self, writes: bool):
        super().__init__()
        self.writes = writes

    def parse(self, argument: Any) -> pathlib.Path:
        """The path.

        Raises:
          ValueError: it is none of this machine's, or cannot be written to.
        """
        text = str(argument)
        if not text:
            raise ValueError("empty; name a folder")
        if "://" in text:
            raise ValueError("a URL, which is not read; mount it and name the folder")
        path = pathlib.Path(text)
        if text.startswith("~"):
            try:
                path = path.expanduser()
            except RuntimeError as error:
                raise ValueError(f"{error}; write the folder out") from error
        if self.writes:
            _check_writable(path)
        return path


def _check_writable(folder: pathlib.Path) -> None:
    try:
        there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
        is_folder = there.is_dir()
    except OSError as error:  # such as a name that is too long
        raise ValueError(f"{error.strerror}; name another folder") from error
    if not is_folder:
        raise ValueError(f"{there} is a file; name a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{there} cannot be written to; name another folder")


def DEFINE_folder(
    name: str, help_text: str, *, writes: bool, required: bool = False
) -> flags.FlagHolder:
    """A flag of a path, None by default; one that is written into if ``writes``."""
    return flags.DEFINE(PathParser(writes), name, None, help_text, required=required)


def beside(checkpoint: pathlib.Path, name: str) -> pathlib.Path:
    """Where a command writes by default: into the folder ``name`` of a checkpoint; for
    one that comes with the package, of the working directory."""
    is_packaged = packaged.name_of(checkpoint) is not None
    return pathlib.Path(name) if is_packaged else checkpoint / name

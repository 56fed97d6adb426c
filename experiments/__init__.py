"""The commands: ``python -m experiments.<name>``.

``python -m`` looks for every package in the working directory first. That may be the
folder of a run that somebody else made. So it is searched last, unless this package
itself stands there, and cannot hide lsgm, nor what is installed.

Every command keeps what it compiles for the next one.
"""

import contextlib
import os
import pathlib
import sys

from experiments.compilation_cache import use_cache


def _search_last(folder: str) -> None:
    """Put a folder behind all others of Python's search path."""
    sys.path.sort(key=lambda entry: os.path.realpath(entry) == folder)


with contextlib.suppress(FileNotFoundError):  # a working directory that was removed
    if (_here := os.path.realpath("")) != str(
        pathlib.Path(__file__).resolve().parents[1]
    ):
        _search_last(_here)

use_cache()

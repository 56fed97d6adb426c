"""Limits on what a small file may cost the one who opens it.

Deflate packs up to a thousand bytes into one. Real arrays, images and weights unpack to
a few times their size, so a file far beyond that is refused before it is unpacked.
"""

import os
import pathlib
import reprlib
import zipfile

# What a file may unpack to, whatever its size.
FREE_BYTES = 2**26
MAX_RATIO = 200
# Characters of a value in an error.
MAX_TEXT = 1000

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxtuple, _SHORT.maxlist, _SHORT.maxdict = 2, 8, 8, 4
_SHORT.maxstring = _SHORT.maxother = 100


class TooLargeError(ValueError):
    """A small file that would unfold to a large one."""


def require_ratio(
    unpacked: int,
    packed: int,
    advice: str = "if it is your own, store it without compression",
) -> None:
    """Raise a TooLargeError where ``packed`` bytes hold suspiciously many more."""
    if unpacked > max(FREE_BYTES, MAX_RATIO * packed):
        raise TooLargeError(
            f"{packed:,} bytes would unpack to {unpacked:,}, over {MAX_RATIO} times as "
            f"many; {advice}"
        )


def require_archive_ratio(path: pathlib.Path, archive: zipfile.ZipFile) -> None:
    """The same of all members of a zip together."""
    unpacked = sum(entry.file_size for entry in archive.infolist())
    require_ratio(unpacked, os.path.getsize(path))


def cut(text: str) -> str:
    """``text``, or its beginning where it is very long."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."


def shorten(value: object) -> str:
    """``repr`` of a value from a file, cut short wherever it is long or deep."""
    return _SHORT.repr(value)

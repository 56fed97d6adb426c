"""Files that are there whole or not at all.

A file is written under another name in its folder and renamed when complete. A reader
never sees half of it, and a killed process leaves the old one as it was.
"""

import contextlib
import hashlib
import json
import pathlib
import uuid
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np


def write_file(path: pathlib.Path, content: str | bytes) -> None:
    """Write text (UTF-8) or bytes; makes the folder where it is missing."""
    with _replace(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_arrays(path: pathlib.Path, arrays: Mapping[str, Any]) -> None:
    """Write an npz of these arrays, not compressed; makes the folder."""
    with _replace(path) as file:
        np.savez(file, **arrays)


def read_object(path: pathlib.Path) -> dict[str, Any] | None:
    """The JSON object of a file; None where there is none, or an empty one."""
    if not path.is_file():  # a pipe would never end
        return None
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found else None


def sha256(path: pathlib.Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _replace(path: pathlib.Path) -> Iterator[IO[bytes]]:
    """A new file that takes the name ``path`` when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: processes of one run may write the same file at once.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

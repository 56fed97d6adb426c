"""Records of a run as JSON lines: one object a line, each with a ``step``."""

import json
import pathlib
from collections.abc import Mapping
from typing import IO, Any

from lsgm.files import write_file


def open_records(path: pathlib.Path, step: int) -> IO[str]:
    """Open a file of records to append after ``step``, later ones dropped."""
    kept = [record for record in read_records(path) if record["step"] <= step]
    write_file(path, "".join(json.dumps(record) + "\n" for record in kept))
    return path.open("a")


def say_lost(path: pathlib.Path, step: int, expected: int | None) -> str | None:
    """How many records up to ``step`` are lost of those that a checkpoint counted, in
    words; None for none, and where the checkpoint did not count."""
    found = sum(record["step"] <= step for record in read_records(path))
    if expected is None or found >= expected:
        return None
    return (
        f"{path} holds {found} of {expected} records up to step {step}: "
        f"{expected - found} are lost. Parameters are not affected."
    )


def write_record(file: IO[str], record: Mapping[str, Any]) -> None:
    """Append one record and hand it to the operating system."""
    file.write(json.dumps(record) + "\n")
    file.flush()


def read_records(path: pathlib.Path) -> list[dict[str, Any]]:
    """Records of a file; none if there is no file. Damaged lines are left out, such as
    one that a killed run cut short, or NULs that a power cut left."""
    if not path.exists():
        return []
    lines = path.read_text(errors="replace").splitlines()
    records = [_parse(line) for line in lines]
    return [record for record in records if record is not None]


def _parse(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and isinstance(record.get("step"), int)
    return record if whole else None

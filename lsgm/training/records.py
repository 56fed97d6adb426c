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


def write_record(file: IO[str], record: Mapping[str, Any]) -> None:
    """Append one record and hand it to the operating system."""
    file.write(json.dumps(record) + "\n")
    file.flush()


def read_records(path: pathlib.Path) -> list[dict[str, Any]]:
    """Records of a file; none if there is no file. A last line that a killed run
    cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    records = [json.loads(line) for line in lines[:-1]]
    try:
        return records + [json.loads(line) for line in lines[-1:]]
    except json.JSONDecodeError:
        return records

"""Finished parts of an evaluation on disk, so that a killed one goes on.

A part's result is one file, ``<folder>/<name>.npz``: JSON words, arrays and pictures.
It takes its name when complete, and counts for the card whose digest it carries; of
another card it is written anew.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from lsgm.arrays import read_arrays
from lsgm.files import write_arrays
from lsgm.reports.page import Figure, Section
from lsgm.terminal import warn

FOLDER = "parts"
HEAD = "head"
Of = TypeVar("Of")
# What reading and JSON make of files that were cut or changed.
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What one part found.

    Attributes:
      metrics: numbers and words, as ``metrics.json`` holds them; may be empty.
      per_example: values of each held-out example, [n] by name, in nats.
      sections: pictures.
    """

    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    per_example: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    sections: list[Section] = dataclasses.field(default_factory=list)


def run(
    parts: Mapping[str, Callable[[Of], Result]],
    of: Of,
    digest: str,
    folder: pathlib.Path,
    tell: Callable[[str], None],
) -> dict[str, Result]:
    """Results of all parts, computed in order unless they are there.

    Args:
      digest: of the card that results belong to.
      tell: receives a line for each part.
    """
    found = {}
    for index, (name, part) in enumerate(parts.items(), 1):
        path, count = folder / f"{name}.npz", f"[{index}/{len(parts)}] {name}"
        kept = read(path, digest)
        if kept is not None:
            tell(f"{count}: there already")
            found[name] = kept
            continue
        start = time.perf_counter()
        tell(f"{count} ...")
        # What is read back is what counts, so that a resumed run equals this one.
        write(path, part(of), digest)
        _, found[name] = _read(path)
        tell(f"{count}: {time.perf_counter() - start:.1f} s")
    return found


def write(path: pathlib.Path, result: Result, digest: str) -> None:
    """Write a part's result."""
    arrays = {f"example/{k}": v for k, v in result.per_example.items()}
    sections = []
    for i, section in enumerate(result.sections):
        figures = []
        for j, figure in enumerate(section.figures):
            arrays[f"png/{i}/{j}"] = np.frombuffer(figure.png, np.uint8)
            words = {k: getattr(figure, k) for k in ("caption", "alt", "density")}
            figures.append(words)
        sections.append(
            {"title": section.title, "text": section.text, "figures": figures}
        )
    head = {"digest": digest, "metrics": result.metrics, "sections": sections}
    arrays[HEAD] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    write_arrays(path, arrays)


def read(path: pathlib.Path, digest: str | None = None) -> Result | None:
    """A part's result; None where there is none, or of another card than ``digest``,
    or a damaged one, of which a warning tells."""
    if not path.exists():
        return None
    try:
        written_for, result = _read(path)
    except DAMAGE as error:
        warn(f"{path} is damaged, and not used: {error}")
        return None
    return result if digest in (None, written_for) else None


def _read(path: pathlib.Path) -> tuple[str, Result]:
    """The digest of the card that a part belongs to, and its result."""
    arrays = read_arrays(path)
    head = json.loads(arrays[HEAD].tobytes())
    sections = [
        Section(
            title=section["title"],
            text=section["text"],
            figures=[
                Figure(png=arrays[f"png/{i}/{j}"].tobytes(), **words)
                for j, words in enumerate(section["figures"])
            ],
        )
        for i, section in enumerate(head["sections"])
    ]
    prefix = "example/"
    values = {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    result = Result(metrics=head["metrics"], per_example=values, sections=sections)
    return head["digest"], result

"""Evaluations side by side: metrics in rows, runs in columns, differences to the first.

A difference comes with a 95 % interval of 1.96 standard errors: paired,

    se^2 = Var_i(b_i - a_i) / n,                                           (1)

where both runs hold values of the same n held-out examples, else se^2 = se_a^2 + se_b^2
from the standard errors of each. Each measure says what has to agree for its
numbers to be compared, such as extractor, split, bit depth or number of samples. Where
it does not agree, there is no difference, but a warning.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lsgm.arrays import read_arrays
from lsgm.config import ConfigError, locate
from lsgm.evaluation import parts
from lsgm.evaluation.evaluate import CARD, MEASURES
from lsgm.evaluation.measures.base import Measure
from lsgm.evaluation.measures.pictures import SAMPLES
from lsgm.files import read_object, write_file
from lsgm.reports.page import Figure, Metric, format_value
from lsgm.reports.templates import render
from lsgm.statistics.estimate import Estimate, estimate_mean
from lsgm.trust import require_trusted

# Classes of the measures in a ``metrics.json`` that does not name them itself, as all
# did that were written before it had to.
UNNAMED = {
    "bound": "lsgm.evaluation.measures.bound:HeldOutBound",
    "likelihood": "lsgm.evaluation.measures.likelihood:FlowLikelihood",
    "sampling": "lsgm.evaluation.measures.sampling:SamplingCost",
    "distance": "lsgm.evaluation.measures.distances:Distances",
    "memorization": "lsgm.evaluation.measures.memorization:Memorization",
    "latents": "lsgm.evaluation.measures.latents:LatentStatistics",
}
INTRODUCTION = (
    "Differences are to the first run, with 95 % intervals; bold where the interval "
    "leaves out 0."
)


class CompareError(RuntimeError):
    """A folder that holds no finished evaluation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A finished evaluation.

    Attributes:
      name: of the column.
      measures: classes by name. metrics: by measure.
      rows: what the report's table shows, by measure and label.
      per_example: values by key, [n] each.
      samples: the picture of samples, where there is one.
    """

    name: str
    card: dict[str, Any]
    measures: dict[str, type[Measure]]
    metrics: dict[str, Any]
    rows: dict[tuple[str, str], Metric]
    per_example: dict[str, np.ndarray]
    samples: Figure | None


def read(folder: pathlib.Path, trust: Sequence[str] = ()) -> Evaluated:
    """What ``experiments/evaluate.py`` wrote into ``folder``.

    Args:
      trust: packages besides lsgm whose measures it may name; their code is run.

    Raises:
      CompareError: no finished evaluation is there, or one of a measure whose class
        cannot be imported, or is of a package that is not trusted.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise CompareError(f"{path}: no such file; evaluate that run first")
    document = read_object(path)
    if document is None or not isinstance(document.get(CARD), dict):
        raise CompareError(f"{path} is damaged; evaluate that run again")
    card, classes = document.pop(CARD), document.pop(MEASURES, UNNAMED)
    try:
        pieces = {name: {"target": classes[name]} for name in document}
        require_trusted(pieces, trust, MEASURES)
        measures = {
            name: locate(piece, f"{MEASURES}.{name}") for name, piece in pieces.items()
        }
    except (ConfigError, KeyError) as error:
        raise CompareError(f"{path}: {error}") from error
    values: dict[str, np.ndarray] = {}
    if (folder / "per_example.npz").is_file():
        try:
            values = read_arrays(folder / "per_example.npz")
        except (OSError, ValueError) as error:
            message = (
                f"{folder / 'per_example.npz'} is damaged; evaluate that run again"
            )
            raise CompareError(message) from error
    pictures = parts.read(
        folder / parts.FOLDER / "pictures.npz", card.get("card_sha256")
    )
    figures = [
        figure
        for section in (pictures.sections if pictures else ())
        if section.title == SAMPLES
        for figure in section.figures
    ]
    return Evaluated(
        name=str(folder),
        card=card,
        measures=measures,
        metrics=document,
        rows={
            (name, f"{metric.label} [{metric.unit}]"): metric
            for name, cls in measures.items()
            for metric in _labelled(cls.rows(document[name]))
        },
        per_example=values,
        samples=figures[0] if figures else None,
    )


def _labelled(groups: Mapping[str, Sequence[Metric]]) -> Iterator[Metric]:
    """A measure's rows; where they stand under several headings, each label says
    under which. Headings hold numbers of examples, which may differ."""
    for heading, rows in groups.items():
        _, _, own = heading.split(" (")[0].partition(", ")
        within = f"{own}: " if len(groups) > 1 else ""
        for row in rows:
            yield dataclasses.replace(row, label=within + row.label)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference(Estimate):
    """Of a number to the first run's; ``paired`` where by Eq. (1)."""

    paired: bool


def difference(first: Evaluated, other: Evaluated, row: tuple[str, str]) -> Difference:
    """Of one row that both have."""
    a, b = first.rows[row], other.rows[row]
    pair = [e.per_example.get(a.key) for e in (first, other)] if a.key else [None]
    error, paired = None, all(v is not None and len(v) > 1 for v in pair)
    if paired:
        each = np.asarray(pair[1]) - np.asarray(pair[0])
        error = estimate_mean(each).standard_error
    elif a.standard_error is not None and b.standard_error is not None:
        error = float(np.hypot(a.standard_error, b.standard_error))
    change = float(b.value) - float(a.value)
    return Difference(
        value=change, standard_error=error, better=a.better, paired=paired
    )


def obstacles(first: Evaluated, other: Evaluated, name: str) -> list[str]:
    """What differs between two runs that must not, for a measure's numbers to
    compare."""
    if name not in first.metrics or name not in other.metrics:
        return []
    measure = first.measures[name]
    found = ["measure"] if other.measures[name] is not measure else []
    for keys, a, b in (
        (measure.must_agree, first.metrics[name], other.metrics[name]),
        (measure.card_must_agree, first.card, other.card),
    ):
        found += [key for key in keys if a.get(key) != b.get(key)]
    return found


def warnings_of(runs: Sequence[Evaluated]) -> list[str]:
    """Which numbers do not compare, and why, in plain words."""
    first = runs[0]
    return [
        f"{other.name}: {name} does not compare with {first.name}'s: other "
        + ", ".join(key.replace("_", " ") for key in found)
        for other in runs[1:]
        for name in first.metrics
        if (found := obstacles(first, other, name))
    ]


def write(runs: Sequence[Evaluated], folder: pathlib.Path) -> pathlib.Path:
    """Write ``compare.html`` into ``folder``; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys(name for run in runs for name in run.card)
    page = render(
        "compare.html",
        title=" against ".join(run.name for run in runs),
        subtitle=INTRODUCTION,
        warnings=warnings_of(runs),
        runs=runs,
        parts=_parts(runs),
        cards={n: [str(run.card.get(n, "")) for run in runs] for n in names},
    )
    path = folder / "compare.html"
    write_file(path, page)
    return path


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedCell:
    """A number of one run, and its difference to the first run's.

    Attributes:
      change: the difference in words; empty of the first run's own numbers.
      kind: of the difference: "warning" where there is none, "clear" where the
        interval leaves out 0, else empty.
    """

    metric: Metric
    change: str = ""
    kind: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedLine:
    """A row of the page; None for a run that did not measure it."""

    label: str
    unit: str
    cells: list[ComparedCell | None]


def _parts(runs: Sequence[Evaluated]) -> dict[str, list[ComparedLine]]:
    """Rows of all runs under their measure, in the order of the first that has them."""
    found: dict[str, list[ComparedLine]] = {}
    for row in dict.fromkeys(row for run in runs for row in run.rows):
        metric = next(run.rows[row] for run in runs if row in run.rows)
        cells = [_cell(runs[0], run, row) for run in runs]
        line = ComparedLine(label=metric.label, unit=metric.unit, cells=cells)
        found.setdefault(row[0].capitalize(), []).append(line)
    return found


def _cell(
    first: Evaluated, run: Evaluated, row: tuple[str, str]
) -> ComparedCell | None:
    if row not in run.rows:
        return None
    metric = run.rows[row]
    if run is first or row not in first.rows:
        return ComparedCell(metric=metric)
    if obstacles(first, run, row[0]):
        return ComparedCell(metric=metric, change="does not compare", kind="warning")
    found = difference(first, run, row)
    width = found.half_width
    clear = width is not None and abs(found.value) > width
    return ComparedCell(
        metric=metric, change=_words(found), kind="clear" if clear else ""
    )


def _words(found: Difference) -> str:
    if not found.value:
        return "the same"
    width = found.half_width
    change = ("−" if found.value < 0 else "+") + format_value(abs(found.value), width)
    if width is None:
        return change
    kind = "paired" if found.paired else "not paired"
    words = f"{change} ± {format_value(width, width)} ({kind})"
    if found.better is None or abs(found.value) <= width:
        return words
    improved = (found.value < 0) == (found.better == "lower")
    return f"{words}, {'better' if improved else 'worse'}"

"""The tables of a study's page: a row per point, and its Markdown.

The second compares points with the first one, seed by seed. Runs of one seed see the
same batches and noise, and may share stages: what seeds do to all points alike cancels
in the difference, and intervals of differences are often much narrower than those of
the points.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

from lsgm.reports.page import format_value
from lsgm.statistics.estimate import Estimate
from lsgm.studies.jobs import RUNS
from lsgm.studies.measures import find_quantity
from lsgm.studies.study import Study
from lsgm.studies.summary import StudyRow, differences

ROUNDING = 1e-9


class Link(NamedTuple):
    """A text that leads to a file of the study's folder."""

    text: str
    path: str


class Column(NamedTuple):
    """What stands above a column, and how its cells are set."""

    head: str
    unit: str
    kind: Literal["label", "number", "links"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Cells are texts; those of a column of links, sequences of links."""

    caption: str
    columns: Sequence[Column]
    lines: Sequence[Sequence[str | Sequence[Link]]]

    def markdown(self) -> str:
        """With numbers to the right."""
        heads = [f"{c.head} [{c.unit}]" if c.unit else c.head for c in self.columns]
        ruler = ["---:" if c.kind == "number" else "---" for c in self.columns]
        lines = [[_markdown(cell) for cell in line] for line in self.lines]
        return "\n".join(f"| {' | '.join(line)} |" for line in (heads, ruler, *lines))


def points(study: Study, rows: Sequence[StudyRow], names: Sequence[str]) -> Table:
    """Means over seeds of these measures, and links to the runs' reports."""
    return Table(
        caption="Means over seeds ± 95 % t intervals of the mean. Each seed links to "
        "its run's report.",
        columns=[*_columns(study, names), Column("reports", "by seed", "links")],
        lines=[
            [*r.labels.values(), *(number(r.means.get(n)) for n in names), _links(r)]
            for r in rows
        ],
    )


def against_first(
    study: Study, rows: Sequence[StudyRow], names: Sequence[str]
) -> Table | None:
    """Differences from the first point, over the seeds that both have; those whose
    interval holds no zero are marked. Of measures that seeds move; None where there
    are none."""
    found = [differences(row, rows[0]) for row in rows[1:]]
    moved = [
        name
        for name in names
        if any(_is_spread(means[name]) for means in found if name in means)
    ]
    if not moved:
        return None
    first = ", ".join(rows[0].labels.values())
    return Table(
        caption=f"Differences from {first}, seed by seed; * marks those whose 95 % "
        "interval holds no zero.",
        columns=_columns(study, moved),
        lines=[
            [*row.labels.values(), *(_difference(means.get(n)) for n in moved)]
            for row, means in zip(rows[1:], found, strict=True)
        ],
    )


def number(found: Estimate | None) -> str:
    """A mean with its interval, as people write it."""
    if found is None:
        return ""
    value = float(found.value)
    if not found.half_width or not _is_spread(found):
        return format_value(int(value) if value.is_integer() and value < 1e9 else value)
    width = format_value(found.half_width, found.half_width)
    return f"{format_value(value, found.half_width)} ± {width}"


def _difference(found: Estimate | None) -> str:
    if found is None or not found.half_width:
        return number(found)
    mark = " *" if abs(found.value) > found.half_width else ""
    sign = "+" if found.value > 0 else ""
    return f"{sign}{number(found)}{mark}"


def _is_spread(found: Estimate) -> bool:
    """Whether values differ by more than rounding."""
    return bool(found.half_width) and found.half_width > ROUNDING * abs(found.value)


def _links(row: StudyRow) -> list[Link]:
    return [
        Link(str(seed), f"{RUNS}/{name}/report.html")
        for seed, name in row.names.items()
    ]


def _columns(study: Study, names: Sequence[str]) -> list[Column]:
    axes = [Column(axis, "", "label") for axis in study.axes]
    measured = (find_quantity(name) for name in names)
    return [*axes, *(Column(m.short, m.unit, "number") for m in measured)]


def _markdown(cell: str | Sequence[Link]) -> str:
    if isinstance(cell, str):
        return cell
    return " ".join(f"[{link.text}]({link.path})" for link in cell)

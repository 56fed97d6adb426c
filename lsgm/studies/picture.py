"""Quality against cost, a panel for each pair: what a point costs, what it gives.

A point of the study is its mean over seeds with 95 % intervals both ways; colour by
the first axis, marker by the second. The line joins the points that no other beats in
both quantities: the Pareto front.
"""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    Locator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)

from lsgm.reports.figures import INK, draw_png
from lsgm.statistics.estimate import Estimate
from lsgm.studies.measures import find_quantity
from lsgm.studies.summary import StudyRow

QUALITIES, COSTS = (
    ("bound", "kernel"),
    ("calls", "milliseconds", "latent_dims", "train_flop"),
)
# Costs that are this near, relative to the largest, are the same.
SAME_COST = 0.01
MARKERS = "osD^vP*X"


def draw(rows: Sequence[StudyRow]) -> bytes | None:
    """A PNG; None where there is no pair to draw."""
    qualities = [q for q in QUALITIES if any(q in row.means for row in rows)]
    costs = [c for c in COSTS if _differs(rows, c)]
    if not qualities or not costs:
        return None
    size = (3.0 * len(costs) + 0.4, 2.8 * len(qualities) + 0.7)
    return draw_png(size, lambda figure: _fill(figure, rows, costs, qualities))


def _fill(
    figure: Figure,
    rows: Sequence[StudyRow],
    costs: Sequence[str],
    qualities: Sequence[str],
) -> None:
    places = figure.subplots(len(qualities), len(costs), squeeze=False)
    for quality, line in zip(qualities, places, strict=True):
        for cost, axes in zip(costs, line, strict=True):
            _panel(axes, rows, cost, quality)
    # Of all panels: a point without a bound is in some only.
    legend: dict[str, Any] = {}
    for axes in places.flat:
        found, names = axes.get_legend_handles_labels()
        legend |= dict(zip(names, found, strict=True))
    labels = [label for row in rows if (label := _label(row)) in legend]
    columns = _columns(labels, figure.get_figwidth())
    lines = math.ceil(len(labels) / columns)
    figure.set_figheight(figure.get_figheight() + 0.17 * (lines - 1))
    figure.legend(
        [legend[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=columns,
    )


def _columns(labels: Sequence[str], width: float) -> int:
    """As many columns of a legend, five at most, as fit into so many inches."""
    column = 0.5 + 0.065 * max(map(len, labels))
    return max(1, min(len(labels), 5, int(width / column)))


def _differs(rows: Sequence[StudyRow], cost: str) -> bool:
    levels = [row.means[cost].value for row in rows if cost in row.means]
    return bool(levels) and max(levels) - min(levels) > SAME_COST * max(levels)


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those points (cost, loss) that no other beats in one and equals or beats in the
    other, by rising cost."""
    best, kept = math.inf, []
    for cost, loss in sorted(points):
        if loss < best:
            best = loss
            kept.append((cost, loss))
    return kept


def _panel(axes: Axes, rows: Sequence[StudyRow], cost: str, quality: str) -> None:
    shown = [row for row in rows if cost in row.means and quality in row.means]
    looks = _looks(rows)
    for row in shown:
        x, y = row.means[cost], row.means[quality]
        colour, marker = looks[tuple(row.labels.values())]
        axes.errorbar(
            x.value,
            y.value,
            xerr=_width(x),
            yerr=_width(y),
            color=colour,
            marker=marker,
            markersize=5,
            linestyle="none",
            elinewidth=0.9,
            label=_label(row),
            zorder=3,
        )
    best = front([(r.means[cost].value, r.means[quality].value) for r in shown])
    axes.plot(*zip(*best, strict=True), color=INK, linewidth=0.8, zorder=2)
    _frame(axes, cost, quality)


def _label(row: StudyRow) -> str:
    return ", ".join(row.labels.values())


def _looks(rows: Sequence[StudyRow]) -> dict[tuple[str, ...], tuple[str, str]]:
    """Colour and marker of every point."""
    ways = [tuple(row.labels.values()) for row in rows]
    first = list(dict.fromkeys(way[:1] for way in ways))
    rest = list(dict.fromkeys(way[1:] for way in ways))
    return {
        way: (
            f"C{first.index(way[:1])}",
            MARKERS[rest.index(way[1:]) % len(MARKERS)],
        )
        for way in ways
    }


def _width(found: Estimate) -> float | None:
    return found.half_width


def _frame(axes: Axes, cost: str, quality: str) -> None:
    x, y = find_quantity(cost), find_quantity(quality)
    unit = f", {y.unit}" if y.unit else ""
    axes.set_title(f"{y.label}{unit}")
    axes.set_xscale("log")
    unit = f", {x.unit}" if x.unit else ""
    axes.set_xlabel(f"{x.label}{unit}")
    axes.xaxis.set_major_locator(_locator(*axes.get_xlim()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _locator(low: float, high: float) -> Locator:
    """Ticks whose labels have room: round ones, powers of ten where there are many,
    even ones where there may be none."""
    if high < 3 * low:
        return MaxNLocator(3)
    return LogLocator(10, subs=(1, 2, 5) if high < 50 * low else (1,))

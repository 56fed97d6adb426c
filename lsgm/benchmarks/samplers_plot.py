"""Quality against network calls, one panel per metric, one line per family."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lsgm.benchmarks.sampler_entries import BASELINE, STOCHASTIC
from lsgm.benchmarks.samplers import ENCODER, METRICS, NOISE
from lsgm.reports.figures import INK, draw_png

TITLES = {
    "rms": "RMS to ODE",
    "log_q": "E[log q]",
    "c2st": "C2ST",
    "kernel": "kernel distance",
    "frechet": "Frechet distance",
}

MARKERS, FAINT = "osD^vP", "#a9b0b8"
LOGARITHMIC = ("rms", "milliseconds")


def draw(found: Sequence[Any]) -> bytes:
    """A PNG of the entries (``samplers_report.Entry``)."""
    named = [m for m in METRICS if any(m in e.metrics for e in found)]
    panels = [*named, "milliseconds"]
    rows = math.ceil(len(panels) / 2)
    size = (9.6, 3.1 * rows + 0.9)
    return draw_png(size, lambda figure: _fill(figure, found, panels, rows))


def _fill(
    figure: Figure, found: Sequence[Any], panels: Sequence[str], rows: int
) -> None:
    places = figure.subplots(rows, 2, squeeze=False).ravel()
    for axes, name in zip(places, panels, strict=False):
        _panel(axes, name, found)
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    seen = {
        label: handle
        for axes in places
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(seen.values()), list(seen), loc="outside lower center", ncols=4)


def _panel(axes: Axes, name: str, found: Sequence[Any]) -> None:
    families = list(dict.fromkeys(e.family for e in found if e.variant))
    lines = [family for family in families if family not in STOCHASTIC]
    for at, family in enumerate(lines):
        part = [e for e in found if e.family == family]
        look = {"color": f"C{at}", "marker": MARKERS[at % 6], "zorder": 3}
        _line(axes, name, part, family, markersize=3.6, **look)
    for family in set(families) - set(lines):
        part = [e for e in found if e.family == family]
        look = {"color": FAINT, "marker": "x", "linewidth": 0.7, "markersize": 4}
        _line(axes, name, part, "stochastic methods", **look)
    solvers = [e for e in found if not e.variant and e.nfe]
    look = {"color": INK, "marker": "*", "linestyle": "none", "markersize": 8}
    _line(axes, name, solvers, "adaptive solvers", zorder=4, **look)
    _levels(axes, name, found)
    _frame(axes, name, found)


def _values(entry: Any, name: str) -> tuple[float, float]:
    if name == "milliseconds":
        return entry.milliseconds, 0.0
    mean = entry.metrics.get(name)
    return (math.nan, math.nan) if mean is None else (mean.value, mean.standard_error)


def _line(axes: Axes, name: str, part: Sequence[Any], label: str, **look: Any) -> None:
    values = np.array([_values(e, name) for e in part]).reshape(-1, 2)
    seen = axes.get_legend_handles_labels()[1]
    axes.errorbar(
        [e.nfe for e in part],
        values[:, 0],
        values[:, 1],
        elinewidth=0.8,
        label=None if label in seen else label,
        **look,
    )


def _levels(axes: Axes, name: str, found: Sequence[Any]) -> None:
    """Lines at what needs no calls, and at the solver that all are compared with."""
    styles = {NOISE: ":", ENCODER: "--", BASELINE: "-"}
    for entry in found:
        value, _ = _values(entry, name)
        if entry.family not in styles or math.isnan(value):
            continue
        if name in LOGARITHMIC and entry.family != BASELINE:
            continue
        label = {BASELINE: f"level of {BASELINE}"}.get(entry.family, entry.family)
        axes.axhline(
            value, color=INK, linewidth=0.8, linestyle=styles[entry.family], label=label
        )


def _frame(axes: Axes, name: str, found: Sequence[Any]) -> None:
    title = "milliseconds per sample" if name == "milliseconds" else TITLES[name]
    axes.set_title(title)
    axes.set_xscale("log")
    axes.set_xlabel("network calls")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if name in LOGARITHMIC:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return
    axes.set_ylim(*_view(name, found))


def _view(name: str, found: Sequence[Any]) -> tuple[float, float]:
    """Limits that show the levels and most entries: a few very wrong ones, at one to
    three calls, may leave the picture."""
    values = [
        (e.family, value) for e in found if math.isfinite(value := _values(e, name)[0])
    ]
    levels = [v for family, v in values if family in (NOISE, ENCODER, BASELINE)]
    ends = np.quantile([v for _, v in values], [0.15, 0.85])
    low, high = min(*levels, ends[0]), max(*levels, ends[1])
    pad = 0.06 * (high - low)
    return low - pad, high + pad

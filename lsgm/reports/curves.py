"""Curves of a run's records: one picture per group of quantities, stages in a row.

Records (``lsgm.training.records``) are ``{"step": 100, "nelbo": 98.4, ...}``, a list
per stage.
Steps of a stage are drawn after those of the stage before it. A quantity on held-out
data is recorded under ``held_out/<name>`` and drawn in the colour of ``<name>``.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from lsgm.reports.figures import INK, draw_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records: TypeAlias = Sequence[Mapping[str, Any]]

HELD_OUT = "held_out/"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture: quantities that share a unit."""

    title: str
    unit: str
    names: tuple[str, ...]


PANELS = (
    Panel(title="Bound", unit="nats per image", names=("nelbo",)),
    Panel(title="Reconstruction", unit="nats per image", names=("reconstruction",)),
    Panel(
        title="Parts of the KL",
        unit="nats per image",
        names=("neg_entropy", "cross_entropy"),
    ),
    Panel(title="VAE's loss", unit="nats per image", names=("loss_vae",)),
    Panel(title="Network calls", unit="per sample", names=("samples/nfe",)),
)


def pictures(stages: Mapping[str, Records]) -> dict[str, bytes]:
    """PNG files by panel title; panels without any record are left out.

    Args:
      stages: records by stage name, in order of training.
    """
    drawn = {panel.title: draw(panel, stages) for panel in panels_of(stages)}
    return {title: figure for title, figure in drawn.items() if figure is not None}


def panels_of(stages: Mapping[str, Records]) -> list[Panel]:
    """``PANELS``, and those of the parameter groups that the records name."""
    names = dict.fromkeys(n for records in stages.values() for r in records for n in r)
    losses = [n for n in names if n.startswith("loss_") and n != "loss_vae"]
    norms = [n for n in names if n.startswith("grad_norm_")]
    norms.sort(key=lambda name: name != "grad_norm_vae")
    groups = [
        Panel(title="Prior's loss", unit="nats per image", names=tuple(losses)),
        Panel(title="Gradient norms", unit="before clipping", names=tuple(norms)),
    ]
    *first, calls = PANELS
    return [*first, *groups, calls]


def draw(panel: Panel, stages: Mapping[str, Records]) -> bytes | None:
    """One panel as a PNG; None where nothing of it was recorded."""
    ends = np.cumsum([0, *(_last_step(records) for records in stages.values())])
    lines = {
        prefix + name: line
        for name in panel.names
        for prefix in ("", HELD_OUT)
        if (line := _line(prefix + name, stages, ends))[0].size
    }
    if not lines:
        return None

    def fill(figure: "Figure") -> None:
        axes = figure.add_subplot()
        for name, (steps, values) in lines.items():
            _plot(axes, panel.names, name, steps, values)
        _frame(axes, panel, [values for _, values in lines.values()])
        _mark_stages(axes, tuple(stages), ends)
        if len(lines) > 1:
            _legend(figure, axes)

    return draw_png((5.0, 2.9), fill)


def _last_step(records: Records) -> int:
    return max((int(r["step"]) for r in records), default=0)


def _line(
    name: str, stages: Mapping[str, Records], ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Steps over all stages and values of one quantity. A gap (NaN) where a stage
    ends keeps the line from running on into the next stage."""
    steps, values = [], []
    for start, records in zip(ends, stages.values(), strict=False):
        found = [(start + r["step"], r[name]) for r in records if name in r]
        if found and steps:
            found.insert(0, (found[0][0], math.nan))
        steps += [step for step, _ in found]
        values += [value for _, value in found]
    return np.array(steps, float), np.array(values, float)


def _plot(
    axes: "Axes",
    names: tuple[str, ...],
    name: str,
    steps: np.ndarray,
    values: np.ndarray,
) -> None:
    held_out = name.startswith(HELD_OUT)
    plain = name.removeprefix(HELD_OUT)
    axes.plot(
        steps,
        values,
        color=f"C{names.index(plain)}",
        linewidth=1.0 if held_out else None,
        linestyle="--" if held_out else "-",
        marker="o" if held_out or np.isfinite(values).sum() < 3 else None,
        markersize=4,
        markerfacecolor="white" if held_out else None,
        label=plain.replace("_", " ") + (", held out" if held_out else ""),
    )


def _frame(axes: "Axes", panel: Panel, values: Sequence[np.ndarray]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_title(f"{panel.title}, {panel.unit}")
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylim(*view(np.concatenate(values)))


def view(values: np.ndarray) -> tuple[float, float]:
    """Limits that show a curve's body: a few extreme values, such as the first steps
    of a training, may leave the picture rather than flatten the rest."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.quantile(finite, [0.02, 0.95])
    room = (high - low) or abs(high) or 1.0
    bottom = max(finite.min(), low - 0.5 * room) - 0.06 * room
    top = min(finite.max(), high + 0.5 * room) + 0.06 * room
    return float(bottom), float(top)


def _legend(figure: "Figure", axes: "Axes") -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), 2),
    )


def _mark_stages(axes: "Axes", names: tuple[str, ...], ends: np.ndarray) -> None:
    """A line where each stage begins, and its name on top."""
    axes.set_xlim(0, max(int(ends[-1]), 1))
    if len(names) < 2:
        return
    for name, start, end in zip(names, ends[:-1], ends[1:], strict=True):
        if start:
            axes.axvline(start, color=INK, linewidth=0.8, linestyle=":")
        axes.annotate(
            name,
            ((start + end) / 2, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, -3),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8.5,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )

r"""From runs to a table: means over seeds with their intervals.

Of n seeds with mean m and standard deviation s,

    m +- t_{0.975, n-1} s / sqrt(n)                                        (1)

holds the mean over all seeds in 95 of 100 cases where seeds' values are Normal: few
seeds make it wide (t = 4.30 for three of them).
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from lsgm.studies.budget import Sizes, sizes
from lsgm.studies.jobs import RUNS
from lsgm.studies.measures import MEASURES, Outcome, skipped_updates
from lsgm.studies.study import Run, Study
from lsgm.studies.work import METRICS
from lsgm.training.records import read_records

LEVEL = 0.95


class Mean(NamedTuple):
    """Over seeds; half_width of Eq. (1), None of a single seed."""

    value: float
    half_width: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A point of the study.

    Attributes:
      labels: by axis. names: of the runs that are finished, by seed.
      values: by measure and seed; means: by measure. What was not measured is in
        neither.
    """

    labels: dict[str, str]
    names: dict[int, str]
    values: dict[str, dict[int, float]]
    means: dict[str, Mean]


def mean(values: Sequence[float]) -> Mean:
    """Eq. (1)."""
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        return Mean(float(array.mean()), None)
    quantile = float(stats.t.ppf(0.5 + LEVEL / 2, len(array) - 1))
    error = float(array.std(ddof=1)) / math.sqrt(len(array))
    return Mean(float(array.mean()), quantile * error)


def differences(row: Row, other: Row) -> dict[str, Mean]:
    """Eq. (1) of the differences ``row - other``, by measure, over common seeds."""
    found = {}
    for name, values in row.values.items():
        theirs = other.values.get(name, {})
        pairs = [values[seed] - theirs[seed] for seed in values if seed in theirs]
        if pairs:
            found[name] = mean(pairs)
    return found


def rows(study: Study, runs: Sequence[Run], folder: pathlib.Path) -> list[Row]:
    """One row per point, in the order of the axes; unfinished runs are left out."""
    points: dict[str, list[Run]] = {}
    for run in runs:
        points.setdefault(run.point, []).append(run)
    return [_row(study, of_point, folder) for of_point in points.values()]


def _row(study: Study, runs: Sequence[Run], folder: pathlib.Path) -> Row:
    size = sizes(runs[0].config)
    found = [
        (run, outcome)
        for run in runs
        if (outcome := read(run.config, size, folder / RUNS / run.name)) is not None
    ]
    values = {
        name: of_seed for name in study.measures if (of_seed := _measured(name, found))
    }
    return Row(
        labels=runs[0].labels,
        names={run.seed: run.name for run, _ in found},
        values=values,
        means={name: mean([*of_seed.values()]) for name, of_seed in values.items()},
    )


def _measured(name: str, found: Sequence[tuple[Run, Outcome]]) -> dict[int, float]:
    values = {}
    for run, outcome in found:
        try:
            values[run.seed] = float(MEASURES[name].read(outcome))
        except KeyError:
            continue  # This evaluation did not measure it.
    return values


def read(
    config: Mapping[str, Any], size: Sizes, folder: pathlib.Path
) -> Outcome | None:
    """What a run's folder holds; None where it has no evaluation."""
    path = folder / METRICS
    if not path.exists():
        return None
    order = config["stage_order"]
    return Outcome(
        metrics=json.loads(path.read_text()),
        sizes=size,
        skipped=sum(
            skipped_updates(read_records(folder / name / "metrics.jsonl"))
            for name in order
        ),
        steps=sum(config["stages"][name]["num_steps"] for name in order),
    )

"""From runs to a table: means over seeds with Student's intervals
(``lsgm.statistics.estimate``), which few seeds make wide."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsgm.files import read_object
from lsgm.statistics.estimate import Estimate, estimate_mean
from lsgm.studies.budget import Sizes, sizes
from lsgm.studies.jobs import RUNS
from lsgm.studies.measures import Outcome, find_quantity, skipped_updates
from lsgm.studies.study import Study, StudyRun
from lsgm.studies.work import METRICS
from lsgm.terminal import warn
from lsgm.training.records import read_records


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyRow:
    """A point of the study.

    Attributes:
      labels: by axis. names: of the runs that are finished, by seed.
      values: by measure and seed; means: by measure. What was not measured is in
        neither.
    """

    labels: dict[str, str]
    names: dict[int, str]
    values: dict[str, dict[int, float]]
    means: dict[str, Estimate]


def mean(values: Sequence[float]) -> Estimate:
    """Over seeds; without an error of a single one."""
    found = estimate_mean(np.asarray(values, np.float64), degrees=len(values) - 1)
    return found if len(values) > 1 else Estimate(value=found.value)


def differences(row: StudyRow, other: StudyRow) -> dict[str, Estimate]:
    """Means of the differences ``row - other``, by measure, over common seeds."""
    found = {}
    for name, values in row.values.items():
        theirs = other.values.get(name, {})
        pairs = [values[seed] - theirs[seed] for seed in values if seed in theirs]
        if pairs:
            found[name] = mean(pairs)
    return found


def rows(
    study: Study, runs: Sequence[StudyRun], folder: pathlib.Path
) -> list[StudyRow]:
    """One row per point, in the order of the axes; unfinished runs are left out."""
    points: dict[str, list[StudyRun]] = {}
    for run in runs:
        points.setdefault(run.point, []).append(run)
    return [_row(study, of_point, folder) for of_point in points.values()]


def _row(study: Study, runs: Sequence[StudyRun], folder: pathlib.Path) -> StudyRow:
    size = sizes(runs[0].config)
    found = [
        (run, outcome)
        for run in runs
        if (outcome := read(run.config, size, folder / RUNS / run.name)) is not None
    ]
    values = {
        name: of_seed for name in study.measures if (of_seed := _measured(name, found))
    }
    return StudyRow(
        labels=runs[0].labels,
        names={run.seed: run.name for run, _ in found},
        values=values,
        means={name: mean([*of_seed.values()]) for name, of_seed in values.items()},
    )


def _measured(name: str, found: Sequence[tuple[StudyRun, Outcome]]) -> dict[int, float]:
    values = {}
    for run, outcome in found:
        try:
            values[run.seed] = float(find_quantity(name).read(outcome))
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
    metrics = read_object(path)
    if metrics is None:
        warn(f"{path} is damaged, and left out")
        return None
    order = config["stage_order"]
    return Outcome(
        metrics=metrics,
        sizes=size,
        skipped=sum(
            skipped_updates(read_records(folder / name / "metrics.jsonl"))
            for name in order
        ),
        steps=sum(config["stages"][name]["num_steps"] for name in order),
    )

"""Measure a restored model: numbers with their errors, pictures, one report.

The settings name the measures (``lsgm.evaluation.measures``), each a function of the
subject and the seed. ``measure`` computes those that are not there yet
(``lsgm.evaluation.parts``), ``write`` puts ``metrics.json``, ``per_example.npz`` and
``report.html`` into a folder.
"""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lsgm.evaluation import parts, provenance
from lsgm.evaluation.measures.base import Measure, can_give
from lsgm.evaluation.subject import EvaluationRun, Subject
from lsgm.files import write_arrays, write_file
from lsgm.reports import curves, ledger
from lsgm.reports.page import Figure, Section, write_report
from lsgm.training.records import read_records

# Beside the measures' names in ``metrics.json``: the card, and the measures' classes.
CARD, MEASURES = "card", "measures"


class Measured(NamedTuple):
    """All that an evaluation found.

    Attributes:
      metrics: by measure, as ``metrics.json`` holds them; measures without numbers
        are not among them.
      per_example: values of each example, by "measure/name".
      sections: pictures.
      left_out: names of measures that need a bound, of a prior without one.
    """

    metrics: dict[str, dict[str, Any]]
    per_example: dict[str, np.ndarray]
    sections: list[Section]
    left_out: list[str]


def measure(
    subject: Subject,
    seed: int,
    folder: pathlib.Path,
    tell: Callable[[str], None] = print,
) -> Measured:
    """Everything that the settings ask for and the subject can give.

    Args:
      folder: where finished parts are kept; those of the same card are not computed
        again.
      tell: receives lines on progress.
    """
    measures, has_bound = subject.settings.measures, subject.model.prior.has_bound
    left_out = [m.name for m in measures if m.needs.bound and not has_bound]
    if left_out:
        tell(say_left_out(left_out))
    results = parts.run(
        {m.name: m.run for m in measures if can_give(m, has_bound=has_bound)},
        EvaluationRun(subject, seed),
        provenance.digest(subject.card),
        folder / parts.FOLDER,
        tell,
    )
    sections = [s for result in results.values() for s in result.sections]
    return Measured(
        metrics={name: r.metrics for name, r in results.items() if r.metrics},
        per_example={
            f"{part}/{name}": values
            for part, result in results.items()
            for name, values in result.per_example.items()
        },
        sections=[*sections, Section(title="Training", figures=_curves(subject))],
        left_out=left_out,
    )


def _curves(subject: Subject) -> list[Figure]:
    records = {stage: read_records(path) for stage, path in subject.records.items()}
    drawn = curves.pictures({s: r for s, r in records.items() if r})
    return [Figure(png=png, alt=title, density=2) for title, png in drawn.items()]


def write(subject: Subject, measured: Measured, folder: pathlib.Path) -> None:
    """Write ``metrics.json``, ``per_example.npz``, ``report.html``, and where the
    settings name published figures ``ledger.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    card = {**subject.card, "card_sha256": provenance.digest(subject.card)}
    found = [
        (measure, measured.metrics[measure.name])
        for measure in subject.settings.measures
        if measure.name in measured.metrics
    ]
    classes = {measure.name: path_of(measure) for measure, _ in found}
    document = {CARD: card, MEASURES: classes, **measured.metrics}
    text = json.dumps(document, indent=2, allow_nan=True) + "\n"
    write_file(folder / "metrics.json", text)
    arrays: dict[str, Any] = dict(measured.per_example)
    write_arrays(folder / "per_example.npz", arrays)
    rows = {
        heading: group
        for measure, metrics in found
        for heading, group in measure.rows(metrics).items()
    }
    sections = list(measured.sections)
    if measured.left_out:
        text = say_left_out(measured.left_out)
        sections.append(Section(title="Not measured", figures=[], text=text))
    published = subject.settings.ledger
    if published is not None:
        ours = [r for measure, metrics in found for r in measure.reproduced(metrics)]
        text = ledger.markdown(published, ours, card)
        write_file(folder / "ledger.md", text)
        rows = ledger.rows(published, ours) | rows
    write_report(
        folder / "report.html",
        title=card["title"],
        subtitle=f"stage {card['stage']}, step {card['step']}",
        headline=[tile for measure, m in found for tile in measure.headline(m)],
        sections=sections,
        metrics=rows,
        card=card,
    )


def path_of(measure: Measure) -> str:
    """The measure's class as a config names it."""
    cls = type(measure)
    return f"{cls.__module__}:{cls.__qualname__}"


def say_left_out(names: Sequence[str]) -> str:
    """Which measures a prior without a bound cannot give, in words."""
    return (
        "This stage's prior has no bound on -log p(x), which these measures need: "
        f"{', '.join(names)}."
    )

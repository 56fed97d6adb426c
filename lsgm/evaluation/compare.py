"""Evaluations side by side: metrics in rows, runs in columns, differences to the first.

A difference comes with a 95 % interval of 1.96 standard errors: paired,

    se^2 = Var_i(b_i - a_i) / n,                                           (1)

where both runs hold values of the same n held-out examples, else se^2 = se_a^2 + se_b^2
from the standard errors of each. Numbers that were measured on something else (another
extractor, split, bit depth, number of samples) get no difference, but a warning.
"""

import dataclasses
import html
import json
import math
import pathlib
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsgm.evaluation import parts
from lsgm.reports.page import (
    Figure,
    Metric,
    figure_html,
    format_value,
    style,
)
from lsgm.reports.tables import table

TEMPLATE = pathlib.Path(__file__).parent / "compare.html"
# What has to agree, by part of the evaluation, for its numbers to be compared.
CONDITIONS = {
    "bound": ("split", "num_bits", "binarize", "num_examples", "examples_sha256"),
    "reconstruction": (
        *("split", "num_bits", "binarize", "num_examples", "examples_sha256"),
    ),
    "likelihood": ("split", "num_bits", "binarize", "num_examples", "examples_sha256"),
    "latents": (),
    "sampling": ("batch_size",),
    "distance": ("name", "num_samples", "num_reference", "reference"),
    "memorization": ("num_samples", "num_held_out", "num_train", "held_out_split"),
}
# What of the card has to agree too.
CARD_CONDITIONS = {
    "sampling": ("device",),
    "distance": ("extractor_provenance", "reference_provenance", "data"),
    "memorization": ("extractor_provenance", "data"),
}
SAMPLES = "Samples"


class CompareError(RuntimeError):
    """A folder that holds no finished evaluation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A finished evaluation.

    Attributes:
      name: of the column.
      metrics: by part. rows: what the report's table shows, by part and label.
      per_example: values by key, [n] each.
      samples: the picture of samples, where there is one.
    """

    name: str
    card: dict[str, Any]
    metrics: dict[str, Any]
    rows: dict[tuple[str, str], Metric]
    per_example: dict[str, np.ndarray]
    samples: Figure | None


def read(folder: pathlib.Path) -> Evaluated:
    """What ``experiments/evaluate.py`` wrote into ``folder``.

    Raises:
      CompareError: no finished evaluation is there.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise CompareError(f"{path}: no such file; evaluate that run first")
    document = json.loads(path.read_text())
    card = document.pop("card")
    values: dict[str, np.ndarray] = {}
    if (folder / "per_example.npz").is_file():
        with np.load(folder / "per_example.npz") as file:
            values = {name: file[name] for name in file.files}
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
        metrics=document,
        rows={
            (part, f"{metric.label} [{metric.unit}]"): metric
            for part, rows in _by_part(document).items()
            for metric in rows
        },
        per_example=values,
        samples=figures[0] if figures else None,
    )


def _by_part(metrics: dict[str, Any]) -> dict[str, list[Metric]]:
    """The report's rows under the names of the evaluation's parts: headings hold
    numbers of examples, which may differ."""
    found: dict[str, list[Metric]] = {}
    for heading, rows in table(metrics).items():
        part = HEADINGS[heading.split(" (")[0].split(",")[0]]
        within = ""
        if part == "latents":
            within = heading.removeprefix("Latents, ").split(" (")[0] + ": "
        found.setdefault(part, []).extend(
            dataclasses.replace(row, label=within + row.label) for row in rows
        )
    return found


HEADINGS = {
    "Bound": "bound",
    "Reconstruction": "reconstruction",
    "Likelihood": "likelihood",
    "Latents": "latents",
    "Sampling": "sampling",
    "Distance to real images": "distance",
    "Memorization": "memorization",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """Of a number to the first run's.

    Attributes:
      half_width: of the 95 % interval; None where no errors are known.
      paired: whether by Eq. (1).
    """

    value: float
    half_width: float | None
    paired: bool


def difference(first: Evaluated, other: Evaluated, row: tuple[str, str]) -> Difference:
    """Of one row that both have."""
    a, b = first.rows[row], other.rows[row]
    change = float(b.value) - float(a.value)
    pair = [e.per_example.get(a.key) for e in (first, other)] if a.key else [None]
    if all(values is not None and len(values) > 1 for values in pair):
        each = np.asarray(pair[1]) - np.asarray(pair[0])
        error = float(each.std(ddof=1) / math.sqrt(len(each)))
        return Difference(value=change, half_width=1.96 * error, paired=True)
    errors = (a.standard_error, b.standard_error)
    if None in errors:
        return Difference(value=change, half_width=None, paired=False)
    error = math.hypot(*(e for e in errors if e is not None))
    return Difference(value=change, half_width=1.96 * error, paired=False)


def obstacles(first: Evaluated, other: Evaluated, part: str) -> list[str]:
    """What differs between two runs that must not, for a part's numbers to compare."""
    if part not in first.metrics or part not in other.metrics:
        return []
    found = []
    for names, a, b in (
        (CONDITIONS.get(part, ()), first.metrics[part], other.metrics[part]),
        (CARD_CONDITIONS.get(part, ()), first.card, other.card),
    ):
        found += [name for name in names if a.get(name) != b.get(name)]
    return found


def warnings_of(runs: Sequence[Evaluated]) -> list[str]:
    """Which numbers do not compare, and why, in plain words."""
    first = runs[0]
    return [
        f"{other.name}: {part} does not compare with {first.name}'s: other "
        + ", ".join(name.replace("_", " ") for name in found)
        for other in runs[1:]
        for part in CONDITIONS
        if (found := obstacles(first, other, part))
    ]


def write(runs: Sequence[Evaluated], folder: pathlib.Path) -> pathlib.Path:
    """Write ``compare.html`` into ``folder``; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    warnings = "".join(f"<li>{html.escape(w)}</li>" for w in warnings_of(runs))
    names = "".join(
        f'<th scope="col" class="number">{html.escape(run.name)}</th>' for run in runs
    )
    page = string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        style=style(),
        title=html.escape(" against ".join(run.name for run in runs)),
        names=names,
        names_left=names.replace(' class="number"', ""),
        warnings=f'<ul class="warning">{warnings}</ul>' if warnings else "",
        metrics=_metrics(runs),
        samples="\n".join(_samples(run) for run in runs),
        cards=_cards([run.card for run in runs]),
    )
    path = folder / "compare.html"
    path.write_text(page, encoding="utf-8")
    return path


def _metrics(runs: Sequence[Evaluated]) -> str:
    """Rows of all runs under their part, in the order of the first that has them."""
    rows = dict.fromkeys(row for run in runs for row in run.rows)
    lines = []
    for part in dict.fromkeys(part for part, _ in rows):
        heading = html.escape(part.capitalize())
        span = len(runs) + 1
        lines.append(f'<tr><th colspan="{span}" scope="rowgroup">{heading}</th></tr>')
        lines += [_row(runs, row) for row in rows if row[0] == part]
    return "\n".join(lines)


def _row(runs: Sequence[Evaluated], row: tuple[str, str]) -> str:
    metric = next(run.rows[row] for run in runs if row in run.rows)
    unit = f"<small>{html.escape(metric.unit)}</small>" if metric.unit else ""
    cells = "".join(_cell(runs[0], run, row) for run in runs)
    return f'<tr><th scope="row">{html.escape(metric.label)}{unit}</th>{cells}</tr>'


def _cell(first: Evaluated, run: Evaluated, row: tuple[str, str]) -> str:
    if row not in run.rows:
        return '<td class="number soft">not measured</td>'
    metric = run.rows[row]
    text = format_value(metric.value, metric.standard_error)
    if metric.standard_error is not None:
        error = format_value(float(metric.standard_error), metric.standard_error)
        text += f' <span class="soft">± {error}</span>'
    below = "" if run is first or row not in first.rows else _change(first, run, row)
    return f'<td class="number">{text}{below}</td>'


def _change(first: Evaluated, run: Evaluated, row: tuple[str, str]) -> str:
    if obstacles(first, run, row[0]):
        return '<small class="warning">does not compare</small>'
    found = difference(first, run, row)
    if not found.value:
        return "<small>the same</small>"
    sign = "−" if found.value < 0 else "+"
    if found.half_width is None:
        return f"<small>{sign}{format_value(abs(found.value))}</small>"
    size = format_value(abs(found.value), found.half_width)
    width = format_value(found.half_width, found.half_width)
    clear = ' class="clear"' if abs(found.value) > found.half_width else ""
    kind = "paired" if found.paired else "not paired"
    return f"<small{clear}>{sign}{size} ± {width} ({kind})</small>"


def _samples(run: Evaluated) -> str:
    name = html.escape(run.name)
    if run.samples is None:
        return f'<div><h3>{name}</h3><p class="soft">No picture stored.</p></div>'
    return f"<div><h3>{name}</h3>\n{figure_html(run.samples)}</div>"


def _cards(cards: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for name in dict.fromkeys(name for card in cards for name in card):
        values = [str(card.get(name, "")) for card in cards]
        kind = ' class="differs"' if len(set(values)) > 1 else ""
        cells = "".join(f"<td>{html.escape(value)}</td>" for value in values)
        lines.append(f'<tr{kind}><th scope="row">{html.escape(name)}</th>{cells}</tr>')
    return "\n".join(lines)

r"""The tournament's rows as a table, answers, a plot and a page.

Entries are averaged over rounds, with the standard error of the mean. Rounds are
paired: all entries of one start from the same noise and face the same reference. So an
entry is compared with the baseline by its differences d_s in each round,

    within noise:  |mean d| <= 2 std(d) / sqrt(rounds),                    (1)

and otherwise better or worse; of log_q, better is nearer to the encoder's latents. What
Eq. (1) calls worse may be too small to matter: errors of pairs are small. So the same
is said of rounds that are not paired, with the error of either entry's mean,

    |mean d| <= 2 sqrt(se^2 + se_baseline^2).                              (2)
"""

import csv
import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lsgm.benchmarks.sampler_entries import BASELINE
from lsgm.benchmarks.samplers import (
    ENCODER,
    JUDGING,
    METRICS,
    EntryRow,
    Settings,
    gap,
)
from lsgm.benchmarks.samplers_plot import TITLES, draw
from lsgm.evaluation.subject import Subject
from lsgm.files import write_file
from lsgm.reports.markdown import markdown_table
from lsgm.reports.page import (
    Figure,
    Metric,
    Section,
    format_value,
    write_report,
)
from lsgm.statistics.estimate import Estimate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged(Estimate):
    """A mean over rounds, and how it compares with the baseline: -1 better, 0 within
    noise, 1 worse, paired (Eq. 1) and not (Eq. 2)."""

    paired: int
    plain: int


@dataclasses.dataclass(frozen=True)
class EntryMeans:
    """An entry over all rounds.

    Attributes:
      milliseconds: per sample, for the prior's part: median over rounds.
      metrics: by name; only those that were computed.
    """

    family: str
    variant: str
    calls: int
    nfe: float
    milliseconds: float
    metrics: dict[str, Judged]

    def within_noise(self, kind: str) -> bool:
        """Whether no metric that judges is worse than the baseline's; ``kind`` is
        "paired" or "plain"."""
        judged = [self.metrics[name] for name in JUDGING if name in self.metrics]
        return all(getattr(mean, kind) <= 0 for mean in judged)


def entries(rows: Sequence[EntryRow]) -> list[EntryMeans]:
    """Rows averaged over rounds; families in the order of the rows, by calls."""
    groups: dict[tuple[str, int], list[EntryRow]] = {}
    for row in rows:
        # What an adaptive solver spends varies from round to round.
        calls = row.calls if row.variant else 0
        groups.setdefault((row.family, calls), []).append(row)
    by_seed = {
        name: {row.seed: row for row in groups[name, 0]} for name in (BASELINE, ENCODER)
    }
    return [
        _entry(group, by_seed[BASELINE], by_seed[ENCODER]) for group in groups.values()
    ]


def _entry(
    group: list[EntryRow], baseline: dict[int, EntryRow], encoder: dict[int, EntryRow]
) -> EntryMeans:
    first = group[0]
    metrics = {
        name: _mean(name, group, baseline, encoder)
        for name in METRICS
        if not math.isnan(getattr(first, name))
    }
    return EntryMeans(
        first.family,
        first.variant,
        first.calls,
        float(np.mean([row.nfe for row in group])),
        1e3 * float(np.median([row.seconds for row in group])),
        metrics,
    )


def _mean(
    name: str,
    group: list[EntryRow],
    baseline: dict[int, EntryRow],
    encoder: dict[int, EntryRow],
) -> Judged:
    values = np.array([getattr(row, name) for row in group])
    ours = np.array([gap(r, name, encoder[r.seed].log_q) for r in group])
    theirs = np.array(
        [gap(baseline[r.seed], name, encoder[r.seed].log_q) for r in group]
    )
    paired = _error(ours - theirs)
    plain = math.hypot(_error(ours), _error(theirs))
    away = float(np.mean(ours - theirs))
    against = [
        0 if abs(away) <= 2 * error else int(np.sign(away)) for error in (paired, plain)
    ]
    return Judged(
        value=float(values.mean()),
        standard_error=_error(values),
        paired=against[0],
        plain=against[1],
    )


def _error(values: np.ndarray) -> float:
    return (
        float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else math.nan
    )


def answers(found: Sequence[EntryMeans], kind: str) -> dict[str, EntryMeans | None]:
    """By fixed-grid family, the entry of fewest calls that no judging metric finds
    worse than the baseline; None where there is none."""
    return {
        family: min(
            (e for e in found if e.family == family and e.within_noise(kind)),
            key=lambda entry: entry.nfe,
            default=None,
        )
        for family in dict.fromkeys(e.family for e in found if e.variant)
    }


def markdown(
    found: Sequence[EntryMeans], card: dict[str, Any], notes: list[str]
) -> str:
    """The table of all entries, and the answers below it."""
    named = [m for m in METRICS if any(m in e.metrics for e in found)]
    header = ["sampler", "variant", "calls", "ms / sample", *map(TITLES.get, named)]
    rows = [_cells(entry, named) for entry in found]
    lines = [
        f"# Samplers on {card['title']}",
        "",
        *(f"- {name}: {value}" for name, value in card.items() if name != "title"),
        *(f"- {note}" for note in notes),
        "",
        f"Means over rounds +- standard errors. Against {BASELINE}, paired: v worse, ^ "
        "better, else within noise (two standard errors of the difference).",
        "",
        *markdown_table([str(h) for h in header], rows, texts=2),
        "",
        f"## Fewest calls not worse than {BASELINE}",
        "",
        "By " + ", ".join(TITLES[m] for m in JUDGING if m in named) + " together.",
        "",
        *markdown_table(
            ["sampler", "paired rounds", "unpaired", "variant (paired)"],
            _answer_rows(found),
            texts=1,
        ),
    ]
    return "\n".join(lines) + "\n"


def _cells(entry: EntryMeans, named: Sequence[str]) -> list[str]:
    marks = {-1: " ^", 0: "", 1: " v"}
    cells = [entry.family, entry.variant, f"{entry.nfe:g}", _number(entry.milliseconds)]
    for name in named:
        mean = entry.metrics.get(name)
        if mean is None:
            cells.append("")
            continue
        mark = marks[mean.paired] if name != "rms" else ""
        value = format_value(mean.value, mean.standard_error)
        error = format_value(mean.standard_error or 0.0, mean.standard_error)
        cells.append(f"{value} +- {error}{mark}")
    return cells


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2g}"


def _answer_rows(found: Sequence[EntryMeans]) -> list[list[str]]:
    paired, plain = (answers(found, kind) for kind in ("paired", "plain"))
    return [
        [
            family,
            *(f"{e.nfe:g}" if e else "none" for e in (paired[family], plain[family])),
            entry.variant if (entry := paired[family]) else "",
        ]
        for family in paired
    ]


def card(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Where the numbers come from."""
    kept = ("title", "checkpoint", "stage", "step", "parameters", "config_sha256")
    draws = settings.num_draws if subject.data.binarize == "dynamic" else 1
    extractor = subject.settings.extractor
    return {
        **{name: subject.card[name] for name in kept},
        "rounds": f"seeds 0 to {settings.seeds - 1}, {settings.num_samples} samples "
        "each, in one batch",
        "calls": ", ".join(map(str, settings.calls)),
        "draws of each training image in the aggregate posterior": draws,
        "extractor": None if extractor is None else extractor.name,
        "real images": f"split {subject.settings.reference_split}",
        "versions": subject.card["versions"],
        "device": f"{subject.card['device']}, {os.cpu_count()} CPU cores",
    }


def write(
    rows: Sequence[EntryRow],
    card: dict[str, Any],
    notes: list[str],
    folder: pathlib.Path,
) -> str:
    """``samplers.md``, ``.csv`` (every round), ``.json`` (means), ``.png``, ``.html``.

    Returns:
      The Markdown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = entries(rows)
    text = markdown(found, card, notes)
    write_file(folder / "samplers.md", text)
    with (folder / "samplers.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([field.name for field in dataclasses.fields(EntryRow)])
        table.writerows(dataclasses.astuple(row) for row in rows)
    document = {"card": card, "notes": notes, "entries": [_plain(e) for e in found]}
    write_file(folder / "samplers.json", json.dumps(document, indent=1) + "\n")
    picture = draw(found)
    write_file(folder / "samplers.png", picture)
    _page(found, card, notes, picture, folder / "samplers.html")
    return text


def _plain(entry: EntryMeans) -> dict[str, Any]:
    metrics = {
        name: {
            "value": mean.value,
            "error": mean.standard_error,
            "paired": mean.paired,
            "plain": mean.plain,
        }
        for name, mean in entry.metrics.items()
    }
    return {**dataclasses.asdict(entry), "metrics": metrics}


def _page(
    found: Sequence[EntryMeans],
    card: dict[str, Any],
    notes: list[str],
    picture: bytes,
    path: pathlib.Path,
) -> None:
    best = [(name, e) for name, e in answers(found, "paired").items() if e]
    tiles = [
        Metric(label=name, value=round(e.nfe), unit="calls", note=e.variant)
        for name, e in sorted(best, key=lambda pair: pair[1].nfe)
    ]
    figure = Figure(png=picture, alt="Quality against network calls", density=2)
    write_report(
        path,
        title=f"Samplers on {card['title']}",
        subtitle=f"fewest calls not worse than {BASELINE}, rounds paired",
        headline=tiles[:4],
        sections=[
            Section(title="Against calls", figures=[figure], text=" ".join(notes))
        ],
        metrics={_heading(entry): _metrics(entry) for entry in found},
        card=card,
    )


def _heading(entry: EntryMeans) -> str:
    calls = f"{entry.nfe:g} calls"
    return ", ".join(filter(None, (entry.family, calls, entry.variant)))


def _metrics(entry: EntryMeans) -> list[Metric]:
    note = {-1: "better than ", 0: "", 1: "worse than "}
    return [
        Metric(
            label=TITLES[name],
            value=mean.value,
            standard_error=mean.standard_error,
            note=note[mean.paired] and note[mean.paired] + BASELINE,
        )
        for name, mean in entry.metrics.items()
    ]

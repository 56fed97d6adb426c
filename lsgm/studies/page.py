"""What a study leaves behind: a page, a picture, and its table in three formats.

``study.html`` and ``study.md`` show a row per point, ``study.csv`` has one per run,
``study.json`` has both. All are functions of the runs' folders: written again, they
are the same.
"""

import csv
import io
import json
import pathlib
from collections.abc import Mapping, Sequence

from lsgm.files import write_file
from lsgm.reports.page import Figure
from lsgm.reports.templates import render
from lsgm.statistics.estimate import Estimate
from lsgm.studies import tables
from lsgm.studies.jobs import RUNS
from lsgm.studies.measures import find_quantity
from lsgm.studies.study import Study
from lsgm.studies.summary import StudyRow
from lsgm.studies.tables import Table
from lsgm.studies.work import METRICS

# What the runs of a study have in common, of their cards.
COMMON = (
    "data",
    "split",
    "num_bits",
    "binarize",
    "num_samples",
    "extractor_provenance",
    "versions",
    "git_commit",
    "code_sha256",
    "device",
    "xla_flags",
)


def write(
    study: Study,
    rows: Sequence[StudyRow],
    failed: Mapping[str, str],
    folder: pathlib.Path,
) -> None:
    """Write everything into ``folder``.

    Args:
      failed: reasons by the name of what is not there.
    """
    names = [name for name in study.measures if any(name in r.means for r in rows)]
    card = common_card(rows, folder)
    write_file(folder / "study.json", _json(study, rows, failed, card))
    write_file(folder / "study.csv", _csv(rows, names))
    points = tables.points(study, rows, names)
    against = tables.against_first(study, rows, names)
    text = _markdown(study.title, points, against, failed)
    write_file(folder / "study.md", text)
    from lsgm.studies import picture

    png = picture.draw(rows)
    if png is not None:
        write_file(folder / "study.png", png)
    page = _html(study, rows, points, against, failed, card, png)
    write_file(folder / "study.html", page)


def common_card(rows: Sequence[StudyRow], folder: pathlib.Path) -> dict[str, str]:
    """What the cards of all runs agree in; several values are listed."""
    paths = [folder / RUNS / n / METRICS for row in rows for n in row.names.values()]
    cards = [json.loads(path.read_text())["card"] for path in paths]
    found = {
        name: " | ".join(dict.fromkeys(str(card[name]) for card in cards))
        for name in COMMON
        if cards and all(name in card for card in cards)
    }
    if paths:
        distance = json.loads(paths[0].read_text()).get("distance", {})
        found["distances"] = ", ".join(
            str(distance[key]) for key in ("name", "kernel_name") if key in distance
        )
    return {name: value for name, value in found.items() if value}


def _json(
    study: Study,
    rows: Sequence[StudyRow],
    failed: Mapping[str, str],
    card: Mapping[str, str],
) -> str:
    document = {
        "title": study.title,
        "axes": {axis: list(labels) for axis, labels in study.axes.items()},
        "seeds": study.seeds,
        "match": study.match,
        "units": {name: find_quantity(name).unit for name in study.measures},
        "points": [
            {
                "labels": row.labels,
                "runs": {str(seed): f"{RUNS}/{n}" for seed, n in row.names.items()},
                "means": {name: _mean(m) for name, m in row.means.items()},
                "values": row.values,
            }
            for row in rows
        ],
        "failed": dict(failed),
        "card": dict(card),
    }
    return json.dumps(document, indent=2) + "\n"


def _mean(found: Estimate) -> dict[str, float | None]:
    return {"value": found.value, "half_width": found.half_width}


def _csv(rows: Sequence[StudyRow], names: Sequence[str]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*(rows[0].labels if rows else ()), "seed", *names])
    for row in rows:
        for seed in row.names:
            values = (row.values.get(name, {}).get(seed, "") for name in names)
            writer.writerow([*row.labels.values(), seed, *values])
    return file.getvalue()


def _markdown(
    title: str, points: Table, against: Table | None, failed: Mapping[str, str]
) -> str:
    text = f"# {title}\n\n{points.markdown()}\n"
    if against is not None:
        text += f"\n{against.caption}\n\n{against.markdown()}\n"
    missing = "".join(f"\n- not there: {n} ({why})" for n, why in failed.items())
    return text + missing


def _html(
    study: Study,
    rows: Sequence[StudyRow],
    points: Table,
    against: Table | None,
    failed: Mapping[str, str],
    card: Mapping[str, str],
    png: bytes | None,
) -> str:
    budget = {
        "steps": "the same number of steps a stage",
        "flop": "the same training FLOP a stage",
        "total_flop": "the same training FLOP",
    }
    done = sum(len(row.names) for row in rows)
    subtitle = (
        f"{len(rows)} points, seeds {', '.join(map(str, study.seeds))}, every point "
        f"with {budget[study.match]} where its axis does not say otherwise; "
        f"{done} of {len(rows) * len(study.seeds)} runs"
    )
    figure = png and Figure(
        png=png,
        caption="Means over seeds with 95 % intervals; the line joins the points that "
        "no other beats in both.",
        density=2,
    )
    return render(
        "study.html",
        title=study.title,
        subtitle=subtitle,
        failed=failed,
        points=points,
        against=against,
        figure=figure,
        card={name.replace("_", " "): value for name, value in card.items()},
    )

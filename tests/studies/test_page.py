"""A study's table, picture and page, from folders that runs left."""

import csv
import json
import types

import matplotlib.style
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lsgm.reports.figures import STYLE
from lsgm.studies import page, picture, summary, tables
from lsgm.studies.budget import Sizes
from lsgm.studies.study import Study, StudyRun

SEEDS = (0, 1, 2)
POINTS = {"4x4": (100.0, 20.0), "8x8": (90.0, 40.0)}


def metrics(bound: float, calls: float) -> dict:
    seconds = 1e-3 + 1e-7 * calls
    return {
        "card": {"data": "digits", "device": "1 x cpu", "code_sha256": "f00"},
        "bound": {
            "nelbo": {"nats": bound},
            "nelbo_with_normal_prior": {"nats": bound + 5},
            "bits_per_dim": bound / 543.0,
        },
        "sampling": {
            "nfe": calls,
            "seconds_per_sample_prior": seconds,
            "seconds_per_sample_decoder": 1e-3,
        },
        "distance": {
            "name": "FD_500 (CNN)",
            "kernel_name": "KD_500 (CNN)",
            "samples": {
                "frechet": {"value": 7.0, "standard_error": 0.1},
                "kernel": {"value": bound / 1e3, "standard_error": 0.1},
            },
        },
    }


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A study of two points, one seed of one of them missing."""
    dims = {"4x4": 32, "8x8": 128}
    monkeypatch.setattr(
        summary,
        "sizes",
        lambda config: Sizes(
            parameters=5,
            latent_dims=dims[config["label"]],
            prior_dims=dims[config["label"]],
            train_flop=2e9,
        ),
    )
    study = Study(
        title="Small <study>",
        base={},
        axes={"resolution": {label: {} for label in POINTS}},
        seeds=SEEDS,
        match="steps",
        measures=(
            "latent_dims",
            "bound",
            "gain",
            "kernel",
            "calls",
            "milliseconds",
            "skipped",
        ),
    )
    runs = [
        StudyRun(
            labels={"resolution": label},
            seed=seed,
            config={"stage_order": [], "stages": {}, "label": label},
        )
        for seed in SEEDS
        for label in POINTS
    ]
    for run in runs[:-1]:
        bound, calls = POINTS[run.labels["resolution"]]
        folder = tmp_path / "runs" / run.name
        folder.mkdir(parents=True)
        text = json.dumps(metrics(bound + run.seed, calls))
        (folder / "metrics.json").write_text(text)
    failed = {runs[-1].name: "experiments.train ended with status 1"}
    rows = summary.rows(study, runs, tmp_path)
    page.write(study, rows, failed, tmp_path)
    return types.SimpleNamespace(folder=tmp_path, rows=rows, study=study)


def test_rows_are_points_in_order_with_their_seeds(made):
    assert [row.labels["resolution"] for row in made.rows] == ["4x4", "8x8"]
    assert [list(row.names) for row in made.rows] == [[0, 1, 2], [0, 1]]
    assert made.rows[0].means["bound"].value == pytest.approx(101.0)
    # sem of 0, 1, 2 is 1 / sqrt(3); t is 4.3027
    assert made.rows[0].means["bound"].half_width == pytest.approx(2.4841, abs=1e-4)
    gain = made.rows[0].means["gain"]
    assert (gain.value, gain.half_width) == (5.0, 0.0)


def test_the_table_of_runs_holds_every_value(made):
    with (made.folder / "study.csv").open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == 5
    last = found[-1]
    assert (last["resolution"], last["seed"]) == ("8x8", "1")
    assert float(last["bound"]) == 91.0 and float(last["latent_dims"]) == 128


def test_json_holds_means_and_failures(made):
    found = json.loads((made.folder / "study.json").read_text())
    assert found["points"][1]["means"]["calls"]["value"] == 40.0
    assert found["failed"] == {"8x8_seed2": "experiments.train ended with status 1"}
    assert found["card"]["distances"] == "FD_500 (CNN), KD_500 (CNN)"


def test_page_links_to_reports_and_fetches_nothing(made):
    text = (made.folder / "study.html").read_text()
    assert "Small &lt;study&gt;" in text and "://" not in text
    for run in ("4x4_seed0", "8x8_seed1"):
        assert f'href="runs/{run}/report.html"' in text
    assert "8x8_seed2: experiments.train ended" in text
    assert "101.0 ± 2.5" in text
    markdown = (made.folder / "study.md").read_text()
    assert "| 4x4 | 32 | 101.0 ± 2.5 |" in markdown


def test_points_are_compared_with_the_first_seed_by_seed(made):
    """8x8 is better by ten at both seeds that it has: no spread at all, where the
    points' own intervals overlap."""
    table = tables.against_first(made.study, made.rows, ("bound", "calls"))
    assert table is None  # seeds move no difference
    made.rows[1].values["bound"][1] += 0.5
    found = summary.differences(made.rows[1], made.rows[0])["bound"]
    assert found.value == pytest.approx(-9.75)
    # 0.25 times t of one degree of freedom, 12.706
    assert found.half_width == pytest.approx(3.1765, abs=1e-4)
    table = tables.against_first(made.study, made.rows, ("bound", "calls"))
    assert table.lines == [["8x8", "-9.8 ± 3.2 *"]]
    made.rows[1].values["bound"][1] += 9.5
    table = tables.against_first(made.study, made.rows, ("bound",))
    assert table.lines[0][1].endswith("64") and "*" not in table.lines[0][1]


def test_differences_are_on_the_page(made):
    made.rows[1].values["bound"][1] += 0.5
    page.write(made.study, made.rows, {}, made.folder)
    markdown = (made.folder / "study.md").read_text()
    assert "Differences from 4x4, seed by seed" in markdown
    text = (made.folder / "study.html").read_text()
    assert "-9.8 ± 3.2 *" in text and "Point against point" in text


def test_written_twice_it_is_the_same(made):
    names = ("study.html", "study.md", "study.csv", "study.json", "study.png")
    before = [(made.folder / name).read_bytes() for name in names]
    failed = json.loads(before[3])["failed"]
    page.write(made.study, made.rows, failed, made.folder)
    assert before == [(made.folder / name).read_bytes() for name in names]


def test_picture_has_a_panel_for_each_cost_that_varies(made, monkeypatch):
    """Calls and latent dimensions vary; seconds, near as they are, and FLOP do not."""
    figures = []

    def figure(*args, **settings):
        figures.append(Figure(*args, **settings))
        return figures[-1]

    monkeypatch.setattr("matplotlib.figure.Figure", figure)
    assert picture.draw(made.rows) == (made.folder / "study.png").read_bytes()
    panels = figures[0].axes
    assert [axes.get_xlabel() for axes in panels] == [
        "Network calls, per sample",
        "Latent dimensions",
    ] * 2
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == ["Bound on -log p(x), nats"] * 2 + ["Kernel distance"] * 2
    # Bounds of 100, 101, 102 against 90, 91, whose point costs more: both are on the
    # front.
    front = panels[0].lines[-1]
    assert list(front.get_xdata()) == [20.0, 40.0]
    assert list(front.get_ydata()) == [101.0, 90.5]
    assert list(panels[1].lines[-1].get_xdata()) == [32.0, 128.0]


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_legend_of_long_labels_fits_into_the_picture(columns):
    labels = ["geometric, unweighted-importance"] * 12
    width = 3.0 * columns + 0.4
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(width, 6.0))
        axes = figure.subplots()
        for label in labels:
            axes.plot([0], [0], label=label)
        legend = figure.legend(
            loc="outside lower center", ncols=picture._columns(labels, width)
        )
        FigureCanvasAgg(figure).draw()
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width


@pytest.mark.parametrize("ratio", [1.01, 1.3, 2.9, 3.5, 30.0, 3000.0])
def test_ticks_are_there_and_do_not_touch(ratio):
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(3.4, 3.5))
        axes = figure.subplots()
        axes.plot([5.1624336e8, 5.1624336e8 * ratio], [1, 2])
        picture._frame(axes, "train_flop", "bound")
        FigureCanvasAgg(figure).draw()
    low, high = axes.get_xlim()
    labels = [
        label.get_window_extent()
        for value, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        if low <= value <= high
    ]
    assert labels
    pairs = zip(labels, labels[1:], strict=False)
    assert all(left.x1 < right.x0 for left, right in pairs)


def test_rounding_is_no_spread():
    assert tables.number(summary.mean([0.1 + 0.2, 0.3, 0.3])) == "0.3000"
    assert tables.number(summary.mean([1.0, 2.0])) == "1.5 ± 6.4"


def test_front_is_what_nothing_beats():
    rng = np.random.default_rng(1)
    points = [tuple(map(float, p)) for p in rng.integers(0, 12, (60, 2))]
    beaten = {
        p for p in points for q in points if q != p and q[0] <= p[0] and q[1] <= p[1]
    }
    assert picture.front(points) == sorted(set(points) - beaten)

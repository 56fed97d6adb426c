"""Intervals over seeds, and what is read of a run."""

import json

import numpy as np
import pytest
from scipy import stats

from lsgm.statistics.estimate import Estimate
from lsgm.studies import measures, summary
from lsgm.studies.budget import Sizes

SIZES = Sizes(parameters=10, latent_dims=4, prior_dims=2, train_flop=1e9)


def test_interval_is_students():
    values = [1.0, 2.0, 4.0]
    found = summary.mean(values)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert found.value - found.half_width == pytest.approx(low)
    assert found.value + found.half_width == pytest.approx(high)


def test_interval_holds_the_mean_in_95_of_100_cases():
    rng = np.random.default_rng(0)
    found = [summary.mean(rng.normal(3.0, 2.0, 3).tolist()) for _ in range(4000)]
    held = np.mean([abs(m.value - 3.0) <= m.half_width for m in found])
    assert held == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 4000))


def test_one_seed_has_no_interval():
    assert summary.mean([2.0]) == Estimate(value=2.0)


def test_skipped_updates_are_counted_over_windows_of_any_length():
    records = [
        {"step": 4, "skipped": 0.5},
        {"step": 4, "held_out/nelbo": 1.0},
        {"step": 10, "skipped": 1 / 6},
    ]
    assert measures.skipped_updates(records) == 2 + 1


def test_a_run_is_read_from_its_folder(tmp_path):
    config = {
        "stage_order": ["vae", "lsgm"],
        "stages": {"vae": {"num_steps": 4}, "lsgm": {"num_steps": 6}},
    }
    assert summary.read(config, SIZES, tmp_path) is None
    (tmp_path / "metrics.json").write_text(json.dumps({"sampling": {"nfe": 7.0}}))
    for name, share in (("vae", 0.25), ("lsgm", 0.5)):
        (tmp_path / name).mkdir()
        record = {"step": config["stages"][name]["num_steps"], "skipped": share}
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    found = summary.read(config, SIZES, tmp_path)
    assert (found.steps, found.skipped) == (10, 1 + 3)
    assert measures.MEASURES["calls"].read(found) == 7.0
    with pytest.raises(KeyError):
        measures.MEASURES["bound"].read(found)


METRICS = {
    "distance": {"samples": {"recall": {"value": 0.25, "standard_error": 0.1}}},
    "sampling": {"nfe": 7},
    "own": {"name": "FD", "yes": None},
}


@pytest.mark.parametrize(
    ("path", "value"), [("distance.samples.recall", 0.25), ("sampling.nfe", 7)]
)
def test_a_path_reads_whatever_was_measured(path, value):
    outcome = measures.Outcome(metrics=METRICS, sizes=SIZES, skipped=0, steps=1)
    found = measures.find_quantity(path)
    assert found.read(outcome) == value and found.label == path


@pytest.mark.parametrize(
    "path", ["distance.samples.precision", "own.name", "own.yes", "sampling.nfe.x"]
)
def test_a_path_to_no_number_is_as_if_not_measured(path):
    outcome = measures.Outcome(metrics=METRICS, sizes=SIZES, skipped=0, steps=1)
    with pytest.raises(KeyError):
        measures.find_quantity(path).read(outcome)

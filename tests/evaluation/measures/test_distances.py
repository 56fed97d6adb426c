"""The parts of an evaluation that compare samples with real images, on real digits in
the place of samples, and on worse ones."""

import dataclasses
import types

import numpy as np
import pytest

from lsgm.config import ConfigError
from lsgm.evaluation.measures.distances import Distances
from lsgm.evaluation.measures.memorization import Memorization
from lsgm.evaluation.parts import Result
from lsgm.evaluation.sampling import Drawn
from lsgm.evaluation.settings import Evaluation
from lsgm.evaluation.subject import EvaluationRun, Subject
from lsgm.features import reference
from lsgm.features.real_images import real_images
from lsgm.features.reference import Reference
from lsgm.statistics.frechet import frechet, moments
from tests.features.test_reference import DATA, Pooled

DISTANCES = Distances()
MEMORIZATION = Memorization(num_images=60, num_shown=3)
SETTINGS = Evaluation(extractor=Pooled(), measures=(DISTANCES, MEMORIZATION))


def _images(split):
    return np.concatenate(list(real_images(DATA, split, 500)))


def _run(samples, settings=SETTINGS):
    model = types.SimpleNamespace()
    run = EvaluationRun(Subject(model, {}, {}, DATA, settings, {}, {}), 0)
    calls = np.ones(len(samples), np.int32)
    run.__dict__["generated"] = Drawn(samples, calls, features=Pooled()(samples))
    return run


def _rows(found):
    (rows,) = DISTANCES.rows(found).values()
    return rows


@pytest.fixture(scope="module")
def good():
    return DISTANCES.run(_run(_images("train")[:400])).metrics


def test_numbers_are_those_of_the_measures(good):
    fake, real = Pooled()(_images("train")[:400]), Pooled()(_images("test"))
    expected = frechet(moments([fake]), moments([real]))
    assert good["samples"]["frechet"]["value"] == pytest.approx(expected, rel=1e-5)
    assert good["name"] == "FD_400 (pooled pixels)"
    assert good["kernel_name"] == "KD_400 (pooled pixels)"
    assert (good["num_samples"], good["num_reference"]) == (400, 500)
    assert good["num_real"] == 400
    assert good["real_images"] == "splits validation and test, divided at random"


def test_training_images_are_as_real_as_held_out_ones(good):
    """Within three standard errors by every measure, manifolds apart, whose errors
    take the manifold as given."""
    for name in ("frechet", "kernel", "told_apart"):
        ours, real = good["samples"][name], good["real"][name]
        error = np.hypot(ours["standard_error"], real["standard_error"])
        assert abs(ours["value"] - real["value"]) < 3 * error, name
    for name in ("precision", "recall", "density", "coverage"):
        gap = good["samples"][name]["value"] - good["real"][name]["value"]
        assert abs(gap) < 0.1, name


def test_blurred_noise_is_not(good):
    noise = np.random.default_rng(0).random((400, 28, 28, 1), np.float32)
    bad = DISTANCES.run(_run(noise)).metrics["samples"]
    for name in ("frechet", "kernel"):
        better = good["samples"][name]
        assert bad[name]["value"] > better["value"] + 10 * better["standard_error"]
    assert bad["told_apart"]["value"] > 0.95 and bad["coverage"]["value"] < 0.1


def test_a_file_gives_the_same_numbers(good, tmp_path):
    path = tmp_path / "ref.npz"
    built = reference.build(DATA, "test", Pooled(), num_bits=8, batch_size=77)
    reference.write(path, built)
    settings = dataclasses.replace(SETTINGS, reference=Reference(path=str(path)))
    run = _run(_images("train")[:400], settings)
    run.subject.settings.reference_statistics(DATA)
    found = DISTANCES.run(run).metrics
    for who in ("samples", "real"):
        for name, estimate in good[who].items():
            assert found[who][name] == pytest.approx(estimate, rel=1e-4), name
    changed = dataclasses.replace(settings, reference_bits=5)
    with pytest.raises(ConfigError, match="num_bits = 8"):
        changed.reference_statistics(DATA)


def test_a_part_of_the_features_leaves_the_other_split_as_it_is(tmp_path):
    path = tmp_path / "ref.npz"
    options = dict(num_bits=8, batch_size=77, num_features=200)
    reference.write(path, reference.build(DATA, "test", Pooled(), **options))
    settings = dataclasses.replace(SETTINGS, reference=Reference(path=str(path)))
    found = DISTANCES.run(_run(_images("train")[:400], settings)).metrics
    assert found["real_images"] == "split validation"
    assert found["num_reference"] == 500


def test_the_references_own_split_is_no_yardstick():
    settings = dataclasses.replace(SETTINGS, baseline_split="test")
    found = DISTANCES.run(_run(_images("train")[:400], settings)).metrics
    assert "real" not in found
    assert [row.note for row in _rows(found)] == [""] * 7


def test_too_few_samples_are_not_measured():
    found = DISTANCES.run(_run(_images("train")[:8])).metrics
    assert found["samples"] == {} and _rows(found) == []


def test_rows_show_errors_and_real_images_beside(good):
    rows = {row.label: row for row in _rows(good)}
    row = rows["FD_400 (pooled pixels)"]
    assert row.value == good["samples"]["frechet"]["value"]
    assert row.standard_error == good["samples"]["frechet"]["standard_error"]
    real = good["real"]["frechet"]["value"]
    assert float(row.note.split()[2]) == pytest.approx(real, rel=0.05)
    assert {"Precision, k = 3", "Coverage, k = 5"} <= rows.keys()


def test_copies_of_training_images_are_found():
    noise = np.random.default_rng(0).random((60, 28, 28, 1), np.float32)
    copies = (_images("train")[100:160] + 0.01 * noise).clip(0, 1)
    result = MEMORIZATION.run(_run(copies))
    assert isinstance(result, Result)
    for space in ("features", "pixels"):
        assert result.metrics[space]["z"] < -5
        assert result.metrics[space]["nearer"] > 0.9
    counts = ("num_samples", "num_held_out", "num_train")
    assert [result.metrics[name] for name in counts] == [60, 60, 4000]
    assert len(result.sections[0].figures) == 2
    (heading, rows), *_ = MEMORIZATION.rows(result.metrics).items()
    assert heading.startswith("Memorization (60 samples, 60 images of split validation")
    assert len(rows) == 4


def test_held_out_images_are_no_copies():
    metrics = MEMORIZATION.run(_run(_images("test")[:60])).metrics
    for space in ("features", "pixels"):
        assert abs(metrics[space]["z"]) < 3

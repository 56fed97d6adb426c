"""Differences with their intervals; what does not compare is not compared."""

import json

import numpy as np
import pytest

from lsgm.evaluation import compare

TERMS = ("nelbo", "reconstruction", "neg_entropy", "cross_entropy")
KEY = ("bound", "Negative ELBO [nats]")
N = 400


def _write(folder, shift, seed=0, card=None, **bound):
    rng = np.random.default_rng(0)
    noise = np.random.default_rng(seed).normal(0, 0.1, N)
    values = 100 + 10 * rng.normal(size=N) + shift + noise
    nats = {
        "nats": values.mean(),
        "standard_error": values.std(ddof=1) / N**0.5,
    }
    found = dict.fromkeys(TERMS, nats) | {
        "split": "test",
        "num_bits": 1,
        "num_examples": N,
        "bits_per_dim": 0.2,
        "examples_sha256": "e",
    }
    calls = {
        "nfe": 3.0,
        "batch_size": 4,
        "seconds_per_sample_prior": 1.0,
        "seconds_per_sample_decoder": 1.0,
    }
    document = {
        "card": {"seed": seed, "model": "<b>"} | (card or {}),
        "bound": found | bound,
        "sampling": calls,
    }
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(document))
    np.savez(folder / "per_example.npz", **{"bound/nelbo": values})
    return compare.read(folder), values


def test_paired_difference_and_its_interval(tmp_path):
    (a, x), (b, y) = _write(tmp_path / "a", 0.0), _write(tmp_path / "b", 0.5, 1)
    found = compare.difference(a, b, KEY)
    assert found.paired
    assert found.value == pytest.approx((y - x).mean())
    assert found.half_width == pytest.approx(1.96 * (y - x).std(ddof=1) / 20)
    # Not paired, the interval is that of two independent means.
    row = ("bound", "Reconstruction [nats]")
    apart = compare.difference(a, b, row)
    assert not apart.paired
    expected = 1.96 * np.hypot(x.std(ddof=1), y.std(ddof=1)) / 20
    assert apart.half_width == pytest.approx(expected)
    assert found.half_width < 0.05 < 1 < apart.half_width


def test_page_marks_differences_and_escapes(tmp_path):
    runs = [_write(tmp_path / "a", 0.0)[0], _write(tmp_path / "b", -0.5, 1)[0]]
    page = compare.write(runs, tmp_path / "out").read_text()
    assert page.count('<tr class="differs">') == 1  # the seed
    assert "(paired)" in page and "−0.5" in page and "does not compare" not in page
    assert "<td>&lt;b&gt;</td>" in page and "<td><b>" not in page
    assert "No picture stored." in page


@pytest.mark.parametrize("other", [dict(split="train"), dict(num_bits=5)])
def test_numbers_of_other_data_are_not_compared(tmp_path, other):
    runs = [_write(tmp_path / "a", 0.0)[0], _write(tmp_path / "b", 0.5, 1, **other)[0]]
    (warning,) = compare.warnings_of(runs)
    assert next(iter(other)).replace("_", " ") in warning and "bound" in warning
    page = compare.write(runs, tmp_path / "out").read_text()
    assert "(paired)" not in page and "does not compare" in page


def test_another_machine_does_not_share_its_seconds(tmp_path):
    runs = [
        _write(tmp_path / name, 0.0, card={"device": name})[0] for name in ("a", "b")
    ]
    (warning,) = compare.warnings_of(runs)
    assert "sampling" in warning and "device" in warning


def test_a_folder_without_evaluation_is_refused(tmp_path):
    with pytest.raises(compare.CompareError, match="evaluate that run first"):
        compare.read(tmp_path)

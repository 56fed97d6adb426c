"""Samplers of an exact score: who is nearer to the data, and by how much they err."""

import json

import numpy as np
import pytest

from lsgm.benchmarks import exact_samplers
from lsgm.benchmarks.mixture import NormalMixture

MIXTURE = NormalMixture()
SIZE = dict(num=20_000, rounds=2)


@pytest.fixture(scope="module")
def found():
    names = ("CLD, Euler-Maruyama", "CLD, SSCS")
    with pytest.MonkeyPatch.context() as patch:
        chosen = {name: exact_samplers.SAMPLERS[name] for name in names}
        patch.setattr(exact_samplers, "SAMPLERS", chosen)
        return list(exact_samplers.accuracies(MIXTURE, (50,), **SIZE))


def test_sscs_beats_euler_at_uniform_steps(found):
    """50 calls; and quadratic steps beat uniform ones with either."""
    by_key = {(row.sampler, row.grid): row.distance.value for row in found}
    euler, sscs = "CLD, Euler-Maruyama", "CLD, SSCS"
    assert by_key[sscs, "uniform"] < by_key[euler, "uniform"]
    for sampler in (euler, sscs):
        assert by_key[sampler, "quadratic"] < by_key[sampler, "uniform"]


def test_comparison_knows_shifts_and_widths():
    exact = MIXTURE.quantiles(10_000)
    assert exact_samplers.compare(exact, MIXTURE)[0] == 0
    shifted = exact_samplers.compare(exact + 0.05, MIXTURE)
    assert shifted[0] == pytest.approx(0.05)
    centers = np.asarray(MIXTURE.centers)
    nearest = centers[np.abs(exact[:, None] - centers).argmin(1)]
    _, width = exact_samplers.compare(nearest + 1.3 * (exact - nearest), MIXTURE)
    assert width == pytest.approx(1.3, rel=0.01)


def test_table_and_file_hold_every_entry(found, tmp_path):
    text = exact_samplers.markdown(found, MIXTURE, **SIZE)
    exact_samplers.write(found, text, tmp_path)
    lines = (tmp_path / "exact.md").read_text().splitlines()
    assert sum(line.startswith("| ") for line in lines) == len(found) + 2
    rows = json.loads((tmp_path / "exact.json").read_text())
    assert [row["calls"] for row in rows] == [50] * len(found)

"""Intervals hold the mean as often as they say."""

import numpy as np
import pytest

from lsgm.statistics.estimate import Estimate, estimate_mean


@pytest.mark.parametrize("num, few", [(3, True), (200, False)])
def test_intervals_hold_the_mean(num, few):
    rng = np.random.default_rng(0)
    degrees = num - 1 if few else None
    found = [estimate_mean(rng.normal(2, 3, num), degrees=degrees) for _ in range(3000)]
    held = np.mean([abs(e.value - 2) <= e.half_width for e in found])
    assert held == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 3000))


def test_mean_and_error_of_known_values():
    found = estimate_mean(np.array([True, True, False, False]), unit="share")
    assert (found.value, found.unit) == (0.5, "share")
    assert found.standard_error == pytest.approx(np.sqrt(1 / 3) / 2)


def test_what_is_not_known_has_no_interval():
    assert Estimate(value=2).half_width is None
    assert np.isnan(estimate_mean(np.ones(1)).standard_error)

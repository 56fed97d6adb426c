"""Which modes samples reach: by hand, and of samples of the distribution itself."""

import math

import numpy as np
import pytest

from lsgm.statistics.modes import assign_modes, count_coverage

CENTERS = np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
DEVIATION = 0.05


def test_points_belong_to_the_nearest_mode_within_four_deviations():
    points = np.array([(0.0, 0.19), (0.0, 0.21), (0.9, 1.1), (0.5, 0.5)])
    np.testing.assert_array_equal(
        assign_modes(points, CENTERS, DEVIATION), [0, -1, 3, -1]
    )


def test_counts_by_hand():
    found = count_coverage(np.array([0, 0, 0, 1, -1, -1, 2, 2]), 4)
    assert (found.covered, found.num_modes, found.near) == (3, 4, 6 / 8)
    q = np.array([3, 1, 2]) / 6
    assert found.kl_to_uniform == pytest.approx(float(np.sum(q * np.log(4 * q))))
    assert count_coverage(np.array([0, 0, 0, 1]), 4, least=2).covered == 1


def test_samples_of_the_distribution_cover_it():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 4000)
    points = CENTERS[labels] + DEVIATION * rng.normal(size=(4000, 2))
    found = count_coverage(assign_modes(points, CENTERS, DEVIATION), 4)
    # Beyond four deviations in two dimensions lies exp(-8).
    assert found.covered == 4 and found.near > 1 - 4 * math.exp(-8)
    assert found.kl_to_uniform < 0.005


def test_one_mode_alone_is_as_far_from_uniform_as_can_be():
    assert count_coverage(np.zeros(9, int), 4).kl_to_uniform == pytest.approx(
        math.log(4)
    )
    none = count_coverage(np.full(9, -1), 4)
    assert (none.covered, none.near) == (0, 0) and none.kl_to_uniform > 1


def test_labels_that_are_no_modes_are_refused():
    with pytest.raises(ValueError, match="there are 4 modes"):
        count_coverage(np.array([4]), 4)
    with pytest.raises(ValueError, match="0 samples"):
        count_coverage(np.array([], int), 4)

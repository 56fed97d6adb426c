"""The kernel distance against sums, closed forms, a jackknife made by hand, and its
interval against simulation."""

import numpy as np
import pytest

from lsgm.statistics import products
from lsgm.statistics.kernel import kernel_distance as distance
from tests.statistics.pairs import pair


def _gaussian(n, dim, seed, scale=1.0, shift=0.0):
    return shift + scale * np.random.default_rng(seed).normal(size=(n, dim))


def test_it_is_the_sum_over_pairs_eq1():
    x, y = _gaussian(4, 3, 0), _gaussian(5, 3, 1)

    def k(u, v):
        return (u @ v / 3 + 1) ** 3

    within_x = np.mean([k(x[i], x[j]) for i in range(4) for j in range(4) if i != j])
    within_y = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    between = np.mean([k(u, v) for u in x for v in y])
    assert distance(x, y).value == pytest.approx(within_x + within_y - 2 * between)


def test_blocks_change_nothing(monkeypatch):
    x, y = _gaussian(50, 3, 0), _gaussian(41, 3, 1, shift=0.5)
    whole = pair(distance(x, y))
    monkeypatch.setattr(products, "BLOCK", 16)
    np.testing.assert_allclose(pair(distance(x, y)), whole, rtol=1e-6)


def test_single_precision_costs_a_millionth_of_a_kernel():
    """Features as those of networks, none negative; against double precision."""
    x, y = (_gaussian(2500, 64, seed).clip(min=0) for seed in (0, 1))

    def mean(u, v, excluded):
        kernel = (u @ v.T / 64 + 1) ** 3
        return (kernel.sum() - excluded * np.trace(kernel)) / (2500 * (2500 - excluded))

    exact = mean(x, x, 1) + mean(y, y, 1) - 2 * mean(x, y, 0)
    assert abs(distance(x, y).value - exact) < 1e-7 * mean(x, y, 0)


def test_standard_error_is_the_jackknifes_eq3():
    x, y = _gaussian(7, 3, 0), _gaussian(5, 3, 1, shift=0.5)
    left_x = [distance(np.delete(x, i, 0), y).value for i in range(7)]
    left_y = [distance(x, np.delete(y, j, 0)).value for j in range(5)]
    variance = 6 * np.var(left_x) + 4 * np.var(left_y)
    assert distance(x, y).standard_error == pytest.approx(np.sqrt(variance))


def _repeated(m, n, dim, shift, num=300):
    """Values and standard errors over independent pairs of sets, [num 2]."""
    rng = np.random.default_rng(0)
    return np.array(
        [
            pair(distance(rng.normal(size=(m, dim)), shift + rng.normal(size=(n, dim))))
            for _ in range(num)
        ]
    )


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_it_has_no_bias(shift):
    """Its mean over many pairs of small sets is the population's value: 0 for one
    distribution, and for N(0, 1) against N(m, 1) in one dimension, where
    E k(x, y) = 1 + 3 E[xy] + 3 E[x^2 y^2] + E[x^3 y^3] with independent x, y,

        MMD^2 = 3 m^2 + 3 m^4 + m^2 (3 + m^2)^2.
    """
    exact = 3 * shift**2 + 3 * shift**4 + shift**2 * (3 + shift**2) ** 2
    values = _repeated(8, 8, 1, shift, num=3000)[:, 0]
    assert abs(values.mean() - exact) < 4 * values.std() / np.sqrt(len(values))


@pytest.mark.parametrize("m, n, shift", [(120, 120, 0.0), (120, 200, 0.4)])
def test_interval_covers(m, n, shift):
    """1.96 standard errors hold the mean in 95 % of pairs of sets or more (within
    what 300 pairs can tell), and are not needlessly wide: the errors are the spread
    where the distributions differ, 1.41 times it where they are the same."""
    found = _repeated(m, n, 6, shift)
    values, errors = found.T
    covered = np.abs(values - values.mean()) < 1.96 * errors
    assert covered.mean() > 0.95 - 3 * np.sqrt(0.95 * 0.05 / len(found))
    excess = np.sqrt(np.mean(errors**2)) / values.std()
    assert excess == pytest.approx(1.0 if shift else np.sqrt(2), rel=0.15)


def test_it_refuses_sets_too_small():
    with pytest.raises(ValueError, match="sets of 2 and 40 examples"):
        distance(_gaussian(2, 2, 0), _gaussian(40, 2, 1))

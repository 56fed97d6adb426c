"""Distances against closed forms, SciPy's matrix square root, and simulation."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from lsgm.evaluation import distances
from lsgm.evaluation.distances import Moments


def _gaussian(n, dim, seed, scale=1.0, shift=0.0):
    return shift + scale * np.random.default_rng(seed).normal(size=(n, dim))


def _exact(mean, covariance, count=1001):
    """Moments of a Gaussian known exactly."""
    return Moments(count, np.asarray(mean), np.asarray(covariance) * (count - 1))


def _covariance(dim, seed, rank=None):
    factor = np.random.default_rng(seed).normal(size=(dim, rank or 2 * dim))
    return factor @ factor.T / dim


@given(
    cuts=st.lists(st.integers(0, 60), max_size=5),
    shift=st.sampled_from([0.0, 1e6]),
)
@settings(max_examples=25, deadline=None)
def test_pooled_moments_are_those_of_the_whole(cuts, shift):
    x = _gaussian(60, 4, 0, shift=shift)
    pooled = distances.moments(np.split(x, sorted(cuts)))
    assert pooled.count == 60
    np.testing.assert_allclose(pooled.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(pooled.covariance, np.cov(x.T), atol=1e-8)


def test_moments_of_float32_are_accumulated_in_float64():
    x = _gaussian(4000, 3, 0, shift=300.0).astype(np.float32)
    pooled = distances.moments(x.reshape(40, 100, 3))
    exact = np.cov(x.astype(np.float64).T)
    np.testing.assert_allclose(pooled.covariance, exact, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "batches, message",
    [
        ([], "two examples"),
        ([np.zeros((1, 2))], "two examples"),
        ([np.zeros((2, 2)), np.array([[0.0, np.nan]])], "finite"),
    ],
)
def test_moments_refuse_what_has_none(batches, message):
    with pytest.raises(ValueError, match=message):
        distances.moments(batches)


def test_symmetric_root_squares_to_its_argument():
    for matrix in (_covariance(12, 0), _covariance(12, 1, rank=5)):
        root = distances.symmetric_root(matrix)
        np.testing.assert_allclose(root @ root, matrix, atol=1e-12)
        np.testing.assert_allclose(root, root.T, atol=1e-12)


def test_frechet_of_commuting_covariances_eq1():
    """|m1 - m2|^2 + sum (s1 - s2)^2 for diagonal covariances."""
    s1, s2 = np.array([1.0, 2.0, 0.0, 3.0]), np.array([0.5, 2.0, 1.0, 0.0])
    m1, m2 = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 0.0, 3.5])
    found = distances.frechet(_exact(m1, np.diag(s1**2)), _exact(m2, np.diag(s2**2)))
    assert found == pytest.approx(((m1 - m2) ** 2).sum() + ((s1 - s2) ** 2).sum())


@pytest.mark.parametrize("seed", range(4))
def test_frechet_agrees_with_scipy_square_root_eq2(seed):
    c1, c2 = _covariance(20, seed), _covariance(20, 100 + seed)
    overlap = np.trace(scipy.linalg.sqrtm(c1 @ c2)).real
    expected = np.trace(c1) + np.trace(c2) - 2 * overlap
    found = distances.frechet(_exact(np.zeros(20), c1), _exact(np.zeros(20), c2))
    assert found == pytest.approx(expected, rel=1e-9)


def test_frechet_of_singular_covariances_is_that_of_their_common_space():
    """Fewer examples than dimensions: zero directions change nothing."""
    c1, c2 = _covariance(5, 0), _covariance(5, 1)
    basis = np.linalg.qr(np.random.default_rng(2).normal(size=(30, 5)))[0]
    small = distances.frechet(_exact(np.zeros(5), c1), _exact(np.zeros(5), c2))
    large = distances.frechet(
        _exact(np.zeros(30), basis @ c1 @ basis.T),
        _exact(np.zeros(30), basis @ c2 @ basis.T),
    )
    assert large == pytest.approx(small, rel=1e-6)


def test_frechet_is_a_distance():
    a, b = _exact(np.zeros(6), _covariance(6, 0)), _exact(np.ones(6), _covariance(6, 1))
    assert distances.frechet(a, a) == pytest.approx(0, abs=1e-10)
    assert distances.frechet(a, b) == pytest.approx(distances.frechet(b, a))
    assert distances.frechet(a, b) > 6


def test_frechet_does_not_change_under_rotation():
    a, b = _gaussian(50, 6, 0), _gaussian(60, 6, 1, scale=1.5)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    plain = distances.frechet(distances.moments([a]), distances.moments([b]))
    turned = distances.frechet(
        distances.moments([a @ turn]), distances.moments([b @ turn])
    )
    assert turned == pytest.approx(plain)


def test_names_carry_count_and_extractor():
    assert distances.frechet_name(500, "digit CNN") == "FD_500 (digit CNN)"
    assert distances.kernel_name(500, "digit CNN") == "KD_500 (digit CNN)"


def test_splits_are_disjoint_and_of_the_size_asked_for(monkeypatch):
    x = np.arange(20.0)[:, None]
    parts = []
    monkeypatch.setattr(distances, "moments", lambda b: parts.append(b[0][:, 0]))
    monkeypatch.setattr(distances, "frechet", lambda a, b: 0.0)
    distances.frechet_of_splits(x, (12, 8), num_splits=3)
    for first, second in zip(parts[::2], parts[1::2], strict=True):
        assert (len(first), len(second)) == (12, 8)
        assert sorted(np.concatenate([first, second])) == list(range(20))
    assert not np.array_equal(parts[0], parts[2])


def test_splits_shrink_with_size_and_refuse_too_large_parts():
    x = _gaussian(800, 10, 0)
    small = distances.frechet_of_splits(x, (50, 50)).mean()
    large = distances.frechet_of_splits(x, (400, 400)).mean()
    assert 0 < large < small / 4
    with pytest.raises(ValueError, match="two parts of 800"):
        distances.frechet_of_splits(x, (500, 301))


def test_mmd_is_the_sum_of_eq3():
    x, y = _gaussian(4, 3, 0), _gaussian(5, 3, 1)

    def k(u, v):
        return (u @ v / 3 + 1) ** 3

    within_x = np.mean([k(x[i], x[j]) for i in range(4) for j in range(4) if i != j])
    within_y = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    between = np.mean([k(u, v) for u in x for v in y])
    assert distances.mmd2(x, y) == pytest.approx(within_x + within_y - 2 * between)


def test_mmd_is_unbiased():
    """Its mean over many pairs of small sets is the population's value: 0 for one
    distribution, and for N(0, 1) against N(m, 1) in one dimension, where
    E k(x, y) = 1 + 3 E[xy] + 3 E[x^2 y^2] + E[x^3 y^3] with independent x, y,

        MMD^2 = 3 m^2 + 3 m^4 + m^2 (3 + m^2)^2.
    """
    rng = np.random.default_rng(0)
    for m in (0.0, 0.5):
        exact = 3 * m**2 + 3 * m**4 + m**2 * (3 + m**2) ** 2
        draws = [
            distances.mmd2(rng.normal(size=(8, 1)), m + rng.normal(size=(8, 1)))
            for _ in range(3000)
        ]
        error = np.std(draws) / np.sqrt(len(draws))
        assert abs(np.mean(draws) - exact) < 4 * error


def test_kernel_distance_covers_zero_within_its_spread():
    """For one distribution the subsets' mean lies within one of their standard
    deviations of zero in nearly every repetition (it averages many of them)."""
    covered = 0
    for seed in range(20):
        x, y = _gaussian(400, 4, 2 * seed), _gaussian(400, 4, 2 * seed + 1)
        found = distances.kernel_distance(x, y, num_subsets=30, subset_size=50)
        covered += abs(found.mean) < found.std
    assert covered >= 18


def test_kernel_distance_sees_a_shift_and_says_what_it_did():
    x, y = _gaussian(300, 4, 0), _gaussian(300, 4, 1, shift=0.7)
    found = distances.kernel_distance(x, y, num_subsets=20, subset_size=100)
    assert found.mean > 5 * found.std
    assert (found.num_subsets, found.subset_size) == (20, 100)
    assert found == distances.kernel_distance(x, y, num_subsets=20, subset_size=100)


@pytest.mark.parametrize("size", [1, 31])
def test_kernel_distance_refuses_sizes_out_of_range(size):
    with pytest.raises(ValueError, match=f"subset_size = {size}: must be 2 to 30"):
        distances.kernel_distance(
            _gaussian(30, 2, 0), _gaussian(40, 2, 1), subset_size=size
        )

"""Distances against closed forms, SciPy's matrix square root, and simulation."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from lsgm.statistics import frechet
from lsgm.statistics.frechet import Moments, Sampled
from tests.statistics.pairs import pair


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
    pooled = frechet.moments(np.split(x, sorted(cuts)))
    assert pooled.count == 60
    np.testing.assert_allclose(pooled.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(pooled.covariance, np.cov(x.T), atol=1e-8)


def test_moments_of_float32_are_accumulated_in_float64():
    x = _gaussian(4000, 3, 0, shift=300.0).astype(np.float32)
    pooled = frechet.moments(x.reshape(40, 100, 3))
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
        frechet.moments(batches)


def test_symmetric_root_squares_to_its_argument():
    for matrix in (_covariance(12, 0), _covariance(12, 1, rank=5)):
        root = frechet.symmetric_root(matrix)
        np.testing.assert_allclose(root @ root, matrix, atol=1e-12)
        np.testing.assert_allclose(root, root.T, atol=1e-12)


def test_frechet_of_commuting_covariances_eq1():
    """|m1 - m2|^2 + sum (s1 - s2)^2 for diagonal covariances."""
    s1, s2 = np.array([1.0, 2.0, 0.0, 3.0]), np.array([0.5, 2.0, 1.0, 0.0])
    m1, m2 = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 0.0, 3.5])
    found = frechet.frechet(_exact(m1, np.diag(s1**2)), _exact(m2, np.diag(s2**2)))
    assert found == pytest.approx(((m1 - m2) ** 2).sum() + ((s1 - s2) ** 2).sum())


@pytest.mark.parametrize("seed", range(4))
def test_frechet_agrees_with_scipy_square_root_eq2(seed):
    c1, c2 = _covariance(20, seed), _covariance(20, 100 + seed)
    overlap = np.trace(scipy.linalg.sqrtm(c1 @ c2)).real
    expected = np.trace(c1) + np.trace(c2) - 2 * overlap
    found = frechet.frechet(_exact(np.zeros(20), c1), _exact(np.zeros(20), c2))
    assert found == pytest.approx(expected, rel=1e-9)


def test_frechet_of_singular_covariances_is_that_of_their_common_space():
    """Fewer examples than dimensions: zero directions change nothing."""
    c1, c2 = _covariance(5, 0), _covariance(5, 1)
    basis = np.linalg.qr(np.random.default_rng(2).normal(size=(30, 5)))[0]
    small = frechet.frechet(_exact(np.zeros(5), c1), _exact(np.zeros(5), c2))
    large = frechet.frechet(
        _exact(np.zeros(30), basis @ c1 @ basis.T),
        _exact(np.zeros(30), basis @ c2 @ basis.T),
    )
    assert large == pytest.approx(small, rel=1e-6)


def test_frechet_is_a_distance():
    a, b = _exact(np.zeros(6), _covariance(6, 0)), _exact(np.ones(6), _covariance(6, 1))
    assert frechet.frechet(a, a) == pytest.approx(0, abs=1e-10)
    assert frechet.frechet(a, b) == pytest.approx(frechet.frechet(b, a))
    assert frechet.frechet(a, b) > 6


def test_frechet_does_not_change_under_rotation():
    a, b = _gaussian(50, 6, 0), _gaussian(60, 6, 1, scale=1.5)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    plain = frechet.frechet(frechet.moments([a]), frechet.moments([b]))
    turned = frechet.frechet(frechet.moments([a @ turn]), frechet.moments([b @ turn]))
    assert turned == pytest.approx(plain)


def test_without_a_part_undoes_pooling():
    x = _gaussian(60, 4, 0, shift=3.0)
    left = frechet.moments([x]).without(frechet.moments([x[:17]]))
    assert left.count == 43
    np.testing.assert_allclose(left.mean, x[17:].mean(0), rtol=1e-12)
    np.testing.assert_allclose(left.covariance, np.cov(x[17:].T), rtol=1e-11)


def _sampled(x, kept=None):
    return Sampled(frechet.moments([x]), x[:kept])


def test_standard_error_of_single_deletions_is_the_jackknifes_eq3(monkeypatch):
    x, y = _gaussian(12, 3, 0), _gaussian(9, 3, 1, scale=1.5)
    variance = 0.0
    for a, b in ((x, y), (y, x)):
        monkeypatch.setattr(frechet, "NUM_GROUPS", len(a))
        whole = frechet.moments([b])
        left = [
            frechet.frechet(frechet.moments([np.delete(a, i, 0)]), whole)
            for i in range(len(a))
        ]
        expected = (len(a) - 1) * np.var(left)
        found = frechet._variance(_sampled(a), whole)
        assert found == pytest.approx(expected, rel=1e-8)
        variance += expected
    monkeypatch.setattr(frechet, "NUM_GROUPS", 9)
    square = _gaussian(9, 3, 0)
    estimate = frechet.frechet_estimate(_sampled(square), _sampled(y))
    whole = frechet.frechet(frechet.moments([square]), frechet.moments([y]))
    assert estimate.value == pytest.approx(whole, rel=1e-10)


@pytest.mark.parametrize("shift, kept", [(0.0, None), (0.4, None), (0.4, 100)])
def test_interval_of_the_frechet_distance_covers(shift, kept):
    """1.96 standard errors hold the mean over pairs of sets of these sizes, bias
    included: in 95 % of pairs or more, within what 150 pairs and ten groups can
    tell; from a part of one set's features too."""
    rng, found = np.random.default_rng(0), []
    for _ in range(150):
        x, y = rng.normal(size=(200, 6)), shift + 1.2 * rng.normal(size=(300, 6))
        estimate = frechet.frechet_estimate(_sampled(x), _sampled(y, kept))
        found.append(pair(estimate))
    values, errors = np.array(found).T
    assert np.mean(np.abs(values - values.mean()) < 1.96 * errors) > 0.90
    assert 0.85 < np.sqrt(np.mean(errors**2)) / values.std() < 1.6


def test_standard_error_needs_features():
    with pytest.raises(ValueError, match="9 features: at least 10"):
        frechet.frechet_estimate(*(_sampled(_gaussian(9, 2, s)) for s in (0, 1)))

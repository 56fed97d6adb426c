"""The classifier two-sample test against Bayes' accuracy and simulation."""

import numpy as np
import pytest
from scipy.stats import norm

from lsgm.statistics import two_sample
from lsgm.statistics.two_sample import told_apart
from tests.statistics.pairs import pair


def _pair(rng, n, dim, shift):
    away = np.zeros(dim)
    away[0] = shift
    return rng.normal(size=(n, dim)), away[None] + rng.normal(size=(n, dim))


def test_classifier_is_ridge_regression_eq1():
    """Against the optimality condition of its problem, at random points: the
    residuals are the ridge times the weights that the prediction is made of."""
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(20, 3)), np.repeat([1.0, -1.0], 10)
    squares = np.array([[np.sum((a - b) ** 2) for b in z] for a in z])
    kernel = np.exp(-squares / np.median(squares[~np.eye(20, dtype=bool)]))
    weights = labels - two_sample._classifier(z, labels, z)
    np.testing.assert_allclose(kernel @ weights + weights, labels, atol=1e-10)


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_accuracy_is_that_of_the_best_classifier_and_its_interval_covers(shift):
    """N(0, I) against N(s e_1, I): no classifier is right more often than
    Phi(s / 2). In the mean over sets it comes close to that, never above."""
    rng = np.random.default_rng(0)
    found = np.array([pair(told_apart(*_pair(rng, 200, 2, shift))) for _ in range(150)])
    best, (values, errors) = norm.cdf(shift / 2), found.T
    assert best - 0.02 < values.mean() < best + 0.01
    assert np.mean(np.abs(values - values.mean()) < 1.96 * errors) > 0.90
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.2)


def test_cross_validation_would_spread_more_than_its_error():
    """What the module says of it, for five folds of sets that are the same."""

    def accuracy(rng):
        z, labels = np.concatenate(_pair(rng, 100, 4, 0.0)), np.repeat([1.0, -1.0], 100)
        folds = np.concatenate([rng.permutation(100) % 5 for _ in range(2)])
        answers = np.zeros(200)
        for fold in range(5):
            held = folds == fold
            known = two_sample._classifier(z[~held], labels[~held], z[held])
            answers[held] = np.sign(known)
        return (1 + (answers * labels).mean()) / 2

    rng = np.random.default_rng(0)
    values = [accuracy(rng) for _ in range(200)]
    assert 1.15 < np.std(values) / np.sqrt(0.25 / 200) < 1.5


def test_it_sees_more_than_means():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 2)), 2.5 * rng.normal(size=(300, 2))
    assert told_apart(x, y).value > 0.65


def test_copies_cannot_be_told_apart():
    still = np.ones((10, 3))
    assert told_apart(still, still).value == 0.5


def test_it_takes_a_part_of_large_sets_and_refuses_small_ones(monkeypatch):
    monkeypatch.setattr(two_sample, "MAX_EXAMPLES", 20)
    x, y = _pair(np.random.default_rng(0), 101, 2, 1.0)
    found = told_apart(x, y)
    value = found.value
    assert found.standard_error == pytest.approx(np.sqrt(value * (1 - value) / 20))
    assert found == told_apart(x, y) != told_apart(x, y, seed=1)
    with pytest.raises(ValueError, match="sets of 3 and 101"):
        told_apart(x[:3], y)

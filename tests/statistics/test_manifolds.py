"""Precision, recall, density and coverage against their definitions by SciPy's
distances, and against what is known of them for one distribution."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from lsgm.statistics import products
from lsgm.statistics.manifolds import Manifolds
from tests.statistics.pairs import pair


def _by_definition(fake, real, k, dense):
    """Eqs. (1) to (4) from whole matrices and a tree of neighbours."""
    radius = {
        (name, j): cKDTree(z).query(z, j + 1)[0][:, j]
        for name, z in (("real", real), ("fake", fake))
        for j in (k, dense)
    }
    between = cdist(real, fake)
    inside = between <= radius["real", dense][:, None]
    return {
        "precision": (between <= radius["real", k][:, None]).any(0),
        "recall": (between <= radius["fake", k][None]).any(1),
        "density": inside.sum(0) / dense,
        "coverage": inside.any(1),
    }


@pytest.mark.parametrize("k, dense, block", [(3, 5, 64), (5, 3, 4096)])
def test_they_are_what_their_definitions_say(monkeypatch, k, dense, block):
    monkeypatch.setattr(products, "BLOCK", block)
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(230, 5)), 0.3 + 0.8 * rng.normal(size=(170, 5))
    found = Manifolds(precision_neighbour=k, density_neighbour=dense)(fake, real)
    for name, values in _by_definition(fake, real, k, dense).items():
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        np.testing.assert_allclose(
            pair(found[name]), (np.mean(values), error), rtol=1e-12
        )


def test_of_one_distribution():
    """Density 1 in the mean, coverage 1 - prod (n - j) / (2 n - j) nearly 1 - 2^-k."""
    rng = np.random.default_rng(0)
    draws = [
        Manifolds()(rng.normal(size=(300, 3)), rng.normal(size=(300, 3)))
        for _ in range(20)
    ]
    mean = {name: np.mean([d[name].value for d in draws]) for name in draws[0]}
    assert mean["density"] == pytest.approx(1, abs=0.02)
    assert mean["coverage"] == pytest.approx(1 - 2**-5, abs=0.01)
    assert mean["precision"] == pytest.approx(mean["recall"], abs=0.01)


def test_they_tell_lost_modes_from_wrong_samples():
    rng = np.random.default_rng(0)
    two = np.concatenate([rng.normal(size=(200, 2)), 20 + rng.normal(size=(200, 2))])
    one, wrong = rng.normal(size=(400, 2)), 10 + rng.normal(size=(400, 2))
    lost = {name: e.value for name, e in Manifolds()(one, two).items()}
    assert lost["precision"] > 0.95 and lost["density"] > 0.8
    assert lost["recall"] < 0.55 and lost["coverage"] < 0.55
    assert all(e.value == 0 for e in Manifolds()(wrong, two).values())


def test_far_from_zero_they_are_as_exact():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(100, 4)), rng.normal(size=(100, 4))
    near, far = Manifolds()(fake, real), Manifolds()(fake + 1e6, real + 1e6)
    assert near == far


def test_refusals():
    with pytest.raises(ValueError, match="density_neighbour = 0"):
        Manifolds(density_neighbour=0)
    x = np.random.default_rng(0).normal(size=(5, 2))
    with pytest.raises(ValueError, match="5 examples: neighbour 5 needs 6"):
        Manifolds()(x, x)

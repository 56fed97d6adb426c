"""The mixture over a data set against SciPy's Normal densities and closed forms."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from lsgm.benchmarks.aggregate_posterior import (
    AggregatePosterior,
    NotNormalError,
    aggregate_posterior,
    training_images,
)
from lsgm.data.images import Images
from lsgm.data.sources.arrays import Npz
from tests.evaluation import linear

FIELDS = linear.posterior(1.3, 0.8)
NUM, DIMS = 7, 4


@pytest.fixture(scope="module")
def mixture():
    batches = linear.batches(NUM, 4)
    return aggregate_posterior(linear.vae(**FIELDS), {}, {"batch_stats": {}}, batches)


def test_components_are_the_encoders_normals(mixture):
    """q(z1|x) = N(slope x, width^2); the filled-up last batch adds no image."""
    x = (2.0 * linear.images(NUM) / 255 - 1.0).reshape(NUM, DIMS)
    np.testing.assert_allclose(mixture.mean, FIELDS["slope"] * x, atol=1e-6)
    np.testing.assert_allclose(mixture.std, FIELDS["width"], rtol=1e-5)


def test_log_prob_is_scipys(mixture):
    z0 = np.random.default_rng(0).normal(size=(5, 2, 2, 1))
    away = norm(mixture.mean[None], mixture.std[None])
    logs = away.logpdf(z0.reshape(5, 1, DIMS)).sum(-1)
    expected = logsumexp(logs, axis=1) - np.log(NUM)
    np.testing.assert_allclose(mixture.log_prob(z0), expected, rtol=1e-10)
    np.testing.assert_allclose(mixture.log_prob(jnp.asarray(z0)), expected, rtol=1e-5)


def test_blocks_change_nothing(mixture, monkeypatch):
    z0 = mixture.sample(9, seed=0)
    whole = mixture.log_prob(z0)
    monkeypatch.setattr("lsgm.benchmarks.aggregate_posterior._BLOCK", 2 * NUM)
    np.testing.assert_allclose(mixture.log_prob(z0), whole, rtol=1e-12)


def test_log_prob_far_away_and_of_narrow_components():
    """No overflow, and no digits lost to the expanded square."""
    narrow = AggregatePosterior(
        mean=np.array([[3.0], [-3.0]]), std=np.full((2, 1), 0.01)
    )
    z0 = np.array([[3.004], [0.0], [50.0]])
    nearest = np.array([3.0, 3.0, 3.0])
    expected = norm(nearest, 0.01).logpdf(z0[:, 0]) - np.log([2, 1, 2])
    np.testing.assert_allclose(narrow.log_prob(z0), expected, rtol=1e-9)


def test_samples_have_the_moments_of_the_mixture(mixture):
    z0 = mixture.sample(40_000, seed=1)
    mean = mixture.mean.mean(0)
    variance = (mixture.std**2 + mixture.mean**2).mean(0) - mean**2
    error = np.sqrt(variance / len(z0))
    assert np.all(abs(z0.mean(0) - mean) < 4.5 * error)
    np.testing.assert_allclose(z0.var(0), variance, rtol=4.5 * np.sqrt(2 / len(z0)))


def test_entropy_of_one_component_and_of_two_far_apart():
    std = np.array([[0.5, 2.0]])
    exact = np.sum(0.5 * np.log(2 * np.pi * np.e) + np.log(std))
    mean = np.array([[1.0, -1.0]])
    one = AggregatePosterior(mean=mean, std=std).entropy(20_000, seed=0)
    assert abs(one.value - exact) < 4.5 * one.standard_error < 0.05
    both = np.concatenate([mean, mean + 1000])
    two = AggregatePosterior(mean=both, std=np.repeat(std, 2, 0)).entropy(
        20_000, seed=0
    )
    assert abs(two.value - exact - np.log(2)) < 4.5 * two.standard_error


class Grouped(linear.Network):
    """The deepest scale has two groups."""

    def latent_shapes(self, image_shape):
        return ((image_shape, image_shape),)


class Flowed(linear.Network):
    """A flow z + z^3 / 9 follows the Normal."""

    def __call__(self, x, noise, *, train):
        z, log_q, out = super().__call__(x, noise, train=train)
        stretched = log_q[0] - jnp.log(1 + z[0] ** 2 / 3)
        return (z[0] + z[0] ** 3 / 9, z[1]), (stretched, log_q[1]), out


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Grouped, "the prior models more than the first group"),
        (Flowed, "not a diagonal Normal"),
    ],
)
def test_other_posteriors_are_refused_in_words(network, message):
    vae = dataclasses.replace(linear.vae(**FIELDS), network=network(**FIELDS))
    with pytest.raises(NotNormalError, match=message):
        aggregate_posterior(vae, {}, {"batch_stats": {}}, linear.batches(3, 3))


@pytest.fixture
def source(tmp_path):
    images = np.linspace(0, 255, 20).reshape(5, 2, 2).astype(np.uint8)
    np.savez(tmp_path / "train.npz", x=images)
    return Npz(train=str(tmp_path / "train.npz"))


def test_training_images_are_drawn_anew_or_taken_once(source):
    def images(num_draws, **settings):
        data = Images(source=source, image_shape=(2, 2, 1), **settings)
        found = [b["levels"][b["mask"]] for b in training_images(data, 4, num_draws)]
        return np.concatenate(found)

    drawn = images(3, num_bits=1, binarize="dynamic").reshape(3, 5, 2, 2)
    assert set(drawn.ravel()) == {0, 1}
    assert len(np.unique(drawn.reshape(3, -1), axis=0)) == 3
    once = images(3)
    assert once.shape == (5, 2, 2, 1)
    mirrored = images(3, flip=True)
    np.testing.assert_array_equal(mirrored[:4], once[:4])
    np.testing.assert_array_equal(mirrored[4:8], once[:4, :, ::-1])
    assert len(mirrored) == 10


def test_the_first_draw_is_evaluations_own(source):
    settings = {"num_bits": 1, "binarize": "dynamic"}
    data = Images(source=source, image_shape=(2, 2, 1), **settings)
    ours, theirs = (
        next(training_images(data, 5)),
        data.eval_batches("train", 5).batch(0),
    )
    np.testing.assert_array_equal(ours["levels"], theirs["levels"])

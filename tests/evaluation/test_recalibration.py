"""Recalibrated statistics are those of generated activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.config import ConfigError, build
from lsgm.evaluation.recalibration import recalibrate
from lsgm.model import LatentModel
from lsgm.networks.norm import BatchNorm
from lsgm.priors.normal import StandardNormal
from lsgm.vae import VAE
from tests.evaluation import linear

GAIN = 3.0


class Network(linear.Network):
    """Decodes by an affine map, a normalisation, a square, another one; the encoder
    has a normalisation of its own."""

    def setup(self):
        self.encoder, self.first, self.second = (BatchNorm() for _ in range(3))

    def __call__(self, x, noise, *, train):
        z, log_q = noise, (jnp.zeros_like(noise[0]),) * 2
        return z, log_q, self.encoder(x, train) + self.decode(z, train=train)

    def decode(self, z, *, train):
        h = self.first(GAIN * z[0] + z[1] - 1.0, train)
        return self.second(h**2, train)


MODEL = LatentModel(
    vae=VAE(
        network=Network(gain=1.0, finer=1.0, slope=0.5, width=1.0),
        likelihood=linear.NoisyPixels(),
        data_shape=linear.SHAPE,
    ),
    prior=StandardNormal(),
)


def make(**fields):
    params, mutables = MODEL.init(jax.random.key(0))
    fields = dict(num_batches=3, batch_size=500, seed=4) | fields
    return params, mutables, recalibrate(MODEL, params, mutables, **fields)


def test_statistics_are_those_of_the_activations():
    """The first layer sees 3 z1 + z2 - 1 of latents of twice the deviation."""
    _, old, new = make(temperature=2.0)
    stats = new["vae"]["batch_stats"]
    num = 3 * 500 * 4
    assert abs(stats["first"]["mean"] + 1) < 4 * (40 / num) ** 0.5
    assert abs(stats["first"]["var"] - 40) < 4 * 40 * (2 / num) ** 0.5
    # Then a standard normal's square.
    assert abs(stats["second"]["mean"] - 1) < 1e-3
    assert abs(stats["second"]["var"] - 2) < 4 * (60 / num) ** 0.5
    np.testing.assert_array_equal(
        stats["encoder"]["mean"], old["vae"]["batch_stats"]["encoder"]["mean"]
    )
    np.testing.assert_array_equal(
        stats["encoder"]["var"], old["vae"]["batch_stats"]["encoder"]["var"]
    )


def test_batches_are_pooled():
    """Mean and variance of the very numbers that were drawn, over all batches."""
    _, _, new = make(num_batches=5, batch_size=8)
    drawn = []
    for key in jax.random.split(jax.random.key(4), 5):
        prior_key, rest_key = jax.random.split(key)
        z0 = jax.random.normal(prior_key, (8, *linear.SHAPE))
        (z1,) = MODEL.rest_latents(rest_key, 8)
        drawn.append(np.asarray(GAIN * z0 + z1 - 1.0))
    first = new["vae"]["batch_stats"]["first"]
    np.testing.assert_allclose(first["mean"], np.mean(drawn), rtol=1e-4)
    # Unbiased within batches: larger by their size over itself less one.
    within = np.mean([d.var(ddof=1) for d in drawn])
    between = np.var([d.mean() for d in drawn])
    np.testing.assert_allclose(first["var"], within + between, rtol=1e-4)


def test_one_batch_decodes_as_with_its_own_statistics():
    """Up to the unbiased variance, and with nothing left to the batch."""
    params, _, new = make(num_batches=1, batch_size=500)
    prior_key, rest_key = jax.random.split(jax.random.split(jax.random.key(4), 1)[0])
    z = (
        jax.random.normal(prior_key, (500, *linear.SHAPE)),
        *MODEL.rest_latents(rest_key, 500),
    )

    def decode(mutables, z, **settings):
        return MODEL.vae.generate(params["vae"], mutables["vae"], z, **settings).loc

    found = decode(new, z)
    np.testing.assert_allclose(
        found, decode(new, z, batch_statistics=True), rtol=2e-3, atol=2e-3
    )
    part = jax.tree.map(lambda leaf: leaf[:7], z)
    np.testing.assert_allclose(decode(new, part), found[:7], rtol=1e-5)
    assert not np.allclose(
        decode(new, part, batch_statistics=True), found[:7], atol=0.1
    )


def test_settings_refuse_both_ways_at_once():
    spec = {
        "target": "lsgm.evaluation.settings:Evaluation",
        "measures": (),
        "recalibration_batches": 4,
        "batch_statistics": True,
    }
    with pytest.raises(ConfigError, match="choose one"):
        build(spec)

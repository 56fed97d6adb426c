"""Recalibrated statistics are those of generated activations."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.config import ConfigError, build
from lsgm.evaluation import sampling
from lsgm.evaluation.recalibration import recalibrate
from lsgm.model import Generated, LatentModel
from lsgm.networks.norm import BatchNorm
from lsgm.priors.base import LatentSamples
from lsgm.priors.normal import StandardNormal
from lsgm.streams import Use, stream
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


def make(model=MODEL, **fields):
    params, mutables = model.init(jax.random.key(0))
    fields = dict(num_batches=3, batch_size=500, seed=4) | fields
    return params, mutables, recalibrate(model, params, mutables, **fields)


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


class OfPrior(Network):
    """Its first normalisation sees the prior's latents, and nothing else."""

    def decode(self, z, *, train):
        return self.second(self.first(z[0], train) ** 2, train)


@dataclasses.dataclass(frozen=True)
class Lattice(StandardNormal):
    """Latents of a batch are -1, ..., 1 in even steps, around a centre: +- ``offset``
    by the toss of a coin for the whole batch."""

    offset: float = 0.0

    def sample(self, params, mutables, key, shape, *, temperature=1.0, num_path=0):
        sign = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
        z0 = sign * self.offset + jnp.linspace(-1.0, 1.0, math.prod(shape))
        return LatentSamples(z0.reshape(shape), jnp.zeros((), jnp.int32))


def lattice_model(offset):
    network = OfPrior(gain=1.0, finer=1.0, slope=0.5, width=1.0)
    return dataclasses.replace(
        MODEL,
        vae=dataclasses.replace(MODEL.vae, network=network),
        prior=Lattice(offset=offset),
    )


def test_batches_are_pooled():
    """Of n even steps from -1 to 1 the unbiased variance is (n + 1) n / 3 (n - 1)^2;
    of centres at +-3 with mean m it is 9 - m^2, whatever the coins show."""
    model, num_batches, size = lattice_model(offset=3.0), 5, 8
    _, _, new = make(model, num_batches=num_batches, batch_size=size)
    first = new["vae"]["batch_stats"]["first"]
    (mean,), (var,) = first["mean"], first["var"]
    heads = (mean / 3 + 1) / 2 * num_batches
    assert heads == pytest.approx(round(float(heads)), abs=1e-4)
    assert 0 < round(float(heads)) < num_batches, "choose a seed with both sides"
    n = 4 * size
    within = (n + 1) * n / (3 * (n - 1) ** 2)
    np.testing.assert_allclose(var, within + 9 - mean**2, rtol=1e-4)


def test_one_batch_decodes_as_with_its_own_statistics():
    """Up to the unbiased variance, and with nothing left to the batch."""
    model, size = lattice_model(offset=0.0), 500
    params, _, new = make(model, num_batches=1, batch_size=size)
    shape = (size, *linear.SHAPE)
    z = (jnp.linspace(-1.0, 1.0, math.prod(shape)).reshape(shape), jnp.zeros(shape))

    def decode(mutables, z, **settings):
        return model.vae.generate(params["vae"], mutables["vae"], z, **settings).loc

    found = decode(new, z)
    # Squares of an even spread have mean 1/3 and variance 4/45.
    expected = (z[0] ** 2 - 1 / 3) / (4 / 45) ** 0.5
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=5e-3)
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


@dataclasses.dataclass(frozen=True)
class Recording(StandardNormal):
    """Keeps the keys that latents are drawn with."""

    keys: list[tuple[int, ...]]

    def sample(self, params, mutables, key, shape, **settings):
        jax.debug.callback(self._keep, jax.random.key_data(key))
        return super().sample(params, mutables, jax.random.clone(key), shape)

    def _keep(self, words):
        self.keys.append(tuple(words.tolist()))


def test_its_latents_are_other_ones_than_those_of_the_samples():
    """With one seed; a split key is a folded key, so the same root would not do."""
    prior = Recording(keys=[])
    model = dataclasses.replace(MODEL, prior=prior)
    params, mutables, _ = make(model, num_batches=3, batch_size=2, seed=0)
    jax.effects_barrier()
    ours = set(prior.keys)
    prior.keys.clear()

    def sample(params, mutables, key):
        prior_key, _ = jax.random.split(key)  # as ``LatentModel.sample`` does
        z0 = prior.sample(params, mutables, prior_key, (2, 2, 2, 1)).z0
        return Generated(z0, z0, jnp.int32(0))

    sampling.draw(sample, params, mutables, 6, stream(0, Use.SAMPLES))
    jax.effects_barrier()
    assert len(ours) == len(set(prior.keys)) == 3
    assert not ours & set(prior.keys)

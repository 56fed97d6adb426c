"""Channels that say nothing are found, and left to the Normal prior."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.data.images import Images
from lsgm.data.sources.arrays import Npz
from lsgm.training import inactive
from lsgm.training import state as states
from lsgm.vae import Encoded
from tests import small


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    """200 of 8 images, an epoch."""
    path = tmp_path_factory.mktemp("images") / "images.npz"
    on = np.random.default_rng(1).random((1600, small.SIZE, small.SIZE)) < 0.3
    np.savez(path, x=(255 * on).astype(np.uint8))
    shape = (small.SIZE, small.SIZE, 1)
    data = Images(source=Npz(train=str(path)), image_shape=shape, num_bits=1)
    return data.train_batches(0, 8)


def silenced(params):
    """Parameters with which the first latent channel is N(0, 1) for every image."""
    posterior = params["vae"]["posterior_0"]
    # Means of two channels, then their log standard deviations.
    kept = jnp.array([0.0, 1.0, 0.0, 1.0])
    own = {
        "kernel": posterior["kernel"] * kept[None, None, None],
        "bias": posterior["bias"] * kept,
    }
    return {**params, "vae": {**params["vae"], "posterior_0": own}}


def start(stage):
    params, mutables = small.variables()
    params = silenced(params)
    optimizers = stage.transformations()
    return states.create(
        jax.random.key(3), params, mutables, optimizers, stage.averaged
    )


def test_kl_of_gaussians():
    """In the mean it is (m^2 + s^2 - 1 - log s^2) / 2 per position."""
    num = 4000
    means, deviations = np.array([0.3, 0.0, -1.0, 2.0]), np.array([0.5, 1.0, 2.0, 0.1])
    noise = np.random.default_rng(0).normal(size=(num, small.SIZE, small.SIZE, 4))
    log_q = -0.5 * noise**2 - 0.5 * math.log(2 * math.pi) - np.log(deviations)
    z = jnp.asarray(means + deviations * noise, jnp.float32)
    found = inactive.channel_kl(Encoded(z0=z, log_q=jnp.asarray(log_q, jnp.float32)))
    positions = small.SIZE**2
    exact = 0.5 * positions * (means**2 + deviations**2 - 1 - 2 * np.log(deviations))
    np.testing.assert_allclose(found, exact, atol=0.5, rtol=0.02)


@pytest.mark.multidevice
def test_mean_over_batches_and_devices(batches):
    """What one pass over all images gives, with noise of its own."""
    state, vae = start(small.stage()), small.vae()
    params, mutables = state.params["vae"], state.mutables["vae"]
    found = inactive.mean_channel_kl(vae, params, mutables, jax.random.key(4), batches)
    levels = [batches.batch(k)["levels"] for k in range(batches.steps_per_epoch)]
    x = vae.preprocess({"levels": jnp.concatenate(levels)})
    noise = vae.draw(jax.random.split(jax.random.key(5), len(x)))
    mean = inactive.channel_kl(vae.encode(params, mutables, x, noise))
    assert found[0] == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(found[1:], mean[1:], rtol=0.05)
    assert np.all(found[1:] > 0.1)


@pytest.mark.multidevice
def test_dropped_channels(batches):
    stage = small.stage(drop_inactive=0.1)
    before = start(stage)
    after = inactive.drop(before, stage, small.vae(), batches)
    np.testing.assert_array_equal(after.mutables["prior"]["active"], [0, 1, 1, 1])
    logits = before.params["prior"]["mixing_logit"].at[0].set(-15.0)
    np.testing.assert_array_equal(after.params["prior"]["mixing_logit"], logits)
    np.testing.assert_array_equal(after.ema["prior"]["mixing_logit"], logits)
    for group, name in (("prior", "network"), ("vae", "decoder")):
        for trees in (after.params, after.ema):
            jax.tree.map(
                np.testing.assert_array_equal,
                trees[group][name],
                before.params[group][name],
            )


def test_nothing_is_dropped_unasked(batches):
    stage = small.stage()
    state = start(stage)
    assert inactive.drop(state, stage, small.vae(), batches) is state

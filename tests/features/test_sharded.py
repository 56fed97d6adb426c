"""Calls spread over devices give what one device gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.features.sharded import over_devices


def _apply(params, x):
    return jnp.tanh(x.reshape(x.shape[0], -1) @ params["w"])


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(11, 3, 3, 1)).astype(np.float32)
    return {"w": rng.normal(size=(9, 4)).astype(np.float32)}, images


@pytest.mark.parametrize("batch_size", [1, 3, 4, 50])
def test_features_do_not_depend_on_batches(inputs, batch_size):
    params, images = inputs
    found = over_devices(_apply, params, batch_size, jax.devices()[:1])(images)
    expected = np.tanh(images.reshape(11, 9) @ params["w"])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_one_shape_is_compiled(inputs):
    shapes = []

    def apply(params, x):
        shapes.append(x.shape)
        return _apply(params, x)

    params, images = inputs
    call = over_devices(apply, params, 4, jax.devices()[:1])
    for n in (11, 4, 1):
        call(images[:n])
    assert shapes == [(4, 3, 3, 1)]


@pytest.mark.multidevice
def test_two_devices_share_a_batch(inputs, monkeypatch):
    """Each holds half of the images, of the features too, and the whole network."""
    params, images = inputs
    placed = []
    put = jax.device_put
    monkeypatch.setattr(
        jax, "device_put", lambda x, s: placed.append(put(x, s)) or placed[-1]
    )
    found = over_devices(_apply, params, 3, jax.devices()[:2])(images)
    assert [s.data.shape for s in placed[0]["w"].addressable_shards] == [(9, 4)] * 2
    # Three images a call are rounded up to two for each device.
    for batch in placed[1:]:
        assert [s.data.shape[0] for s in batch.addressable_shards] == [2, 2]
        assert len({s.device for s in batch.addressable_shards}) == 2
    one = over_devices(_apply, params, 3, jax.devices()[:1])(images)
    np.testing.assert_allclose(found, one, rtol=1e-6)

"""Attention over pixels: its equations, its symmetry, its start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.networks.attention import AttentionBlock

X = jax.random.normal(jax.random.key(0), (2, 3, 4, 8))


@pytest.fixture(scope="module")
def params():
    """Weights of order one: at its start the block hardly attends."""
    start = AttentionBlock().init(jax.random.key(1), X)["params"]
    leaves, treedef = jax.tree.flatten(start)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    drawn = [
        jax.random.normal(k, v.shape) * 0.5 for k, v in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(treedef, drawn)


def test_equations(params):
    p = jax.tree.map(lambda v: np.asarray(v, np.float64), params)
    x = np.asarray(X, np.float64).reshape(2, 12, 2, 4)
    normed = x - x.mean(axis=(1, 3), keepdims=True)
    normed /= np.sqrt(x.var(axis=(1, 3), keepdims=True) + 1e-6)
    h = normed.reshape(2, 12, 8) * p["norm"]["scale"] + p["norm"]["bias"]
    q, k, v = (h @ p[n]["kernel"] + p[n]["bias"] for n in ("query", "key", "value"))
    logits = q @ k.transpose(0, 2, 1) / np.sqrt(8)
    weights = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    out = weights @ v @ p["out"]["kernel"] + p["out"]["bias"]
    expected = (np.asarray(X) + out.reshape(X.shape)) / np.sqrt(2)
    ours = AttentionBlock().apply({"params": params}, X)
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_pixels_have_no_order(params):
    turned = X.transpose(0, 2, 1, 3)[:, ::-1]
    ours = AttentionBlock().apply({"params": params}, turned)
    expected = AttentionBlock().apply({"params": params}, X)
    np.testing.assert_allclose(ours, expected.transpose(0, 2, 1, 3)[:, ::-1], atol=1e-5)


def test_starts_as_a_rescaled_identity():
    block = AttentionBlock()
    params = block.init(jax.random.key(3), X)["params"]
    ours = block.apply({"params": params}, X)
    np.testing.assert_allclose(ours, X / np.sqrt(2), atol=1e-4)
    bound = np.sqrt(3 * 0.1 / 8)
    largest = jnp.abs(params["query"]["kernel"]).max()
    assert 0.8 * bound < largest <= bound

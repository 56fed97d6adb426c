"""The toy noise predictor: equations, start, sizes, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.networks.embeddings import Positional
from lsgm.networks.mlp import MLP

U = jax.random.normal(jax.random.key(0), (3, 1, 2, 2))
T = jnp.array([0.1, 0.5, 0.9])


def init(net, key=1):
    return net.init(jax.random.key(key), U, T, train=False)["params"]


def test_equations():
    net = MLP(width=5, depth=2, embedding=Positional(dim=8, scale=10.0))
    p = jax.tree.map(lambda v: v + 0.1, init(net))
    h, e = U.reshape(3, 4), net.embedding.apply({}, T)
    for i in range(2):
        a, b = p[f"hidden_{i}"], p[f"time_{i}"]
        h = h @ a["kernel"] + (a["bias"] + b["bias"])[None] + e @ b["kernel"]
        h = h * jax.nn.sigmoid(h)
    expected = (h @ p["head"]["kernel"] + p["head"]["bias"][None]).reshape(U.shape)
    ours = net.apply({"params": p}, U, T, train=True)
    np.testing.assert_allclose(ours, expected, rtol=2e-5)


def test_starts_near_zero_and_may_change_its_channels():
    net = MLP(width=16, depth=1, out_channels=1)
    out = net.apply({"params": init(net)}, U, T, train=False)
    assert out.shape == (3, 1, 2, 1)
    assert 0 < jnp.abs(out).max() < 1e-3


@pytest.mark.parametrize("field", ["width", "depth"])
def test_empty_networks_are_refused(field):
    with pytest.raises(ValueError, match=f"{field} = 0"):
        MLP(**{field: 0})

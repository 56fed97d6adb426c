r"""Layers over sequences [b n 1 c]: places along the first axis of an image.

A residual block, f a convolution over 5 places,

    h + W swish(f(swish(LayerNorm(h) + U e)))                              (1)

with features e of a time, if there is one, and W near zero at the start. Halving joins
pairs of places to channels before a linear map; doubling is its mirror image.
"""

import flax.linen as nn
import jax.numpy as jnp

from lsgm.networks.layers import fan_avg
from lsgm.typing import Array, Float

TAPS = 5
# Of the last kernel of a block at the start.
SMALL = 0.02


class SequenceConv(nn.Module):
    """Convolution over 5 places, as one product with the shifted sequence: on CPUs
    several times as fast as XLA's convolution with its gradients."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b n 1 c"]) -> Float[Array, "b n 1 d"]:
        half, n = TAPS // 2, x.shape[1]
        padded = jnp.pad(x, ((0, 0), (half, half), (0, 0), (0, 0)))
        shifted = [padded[:, i : i + n] for i in range(TAPS)]
        return dense(self.features)(jnp.concatenate(shifted, -1))


class SequenceBlock(nn.Module):
    """Eq. (1)."""

    @nn.compact
    def __call__(
        self, h: Float[Array, "b n 1 c"], time: Float[Array, "b e"] | None = None
    ) -> Float[Array, "b n 1 c"]:
        width = h.shape[-1]
        inner = nn.LayerNorm()(h)
        if time is not None:
            inner = inner + dense(width)(time)[:, None, None]
        inner = nn.swish(SequenceConv(width)(nn.swish(inner)))
        start = nn.initializers.normal(SMALL)
        return h + nn.Dense(width, kernel_init=start)(inner)


class Placed(nn.Module):
    """A linear map to ``features``, and a learned vector for each place."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b n 1 c"]) -> Float[Array, "b n 1 d"]:
        shape = (x.shape[1], 1, self.features)
        places = self.param("places", nn.initializers.normal(SMALL), shape)
        return dense(self.features)(x) + places[None]


class Halve(nn.Module):
    """Half as many places."""

    @nn.compact
    def __call__(self, x: Float[Array, "b n 1 c"]) -> Float[Array, "b m 1 c"]:
        b, n, _, c = x.shape
        return dense(c)(x.reshape(b, n // 2, 1, 2 * c))


class Double(nn.Module):
    """Twice as many places."""

    @nn.compact
    def __call__(self, x: Float[Array, "b n 1 c"]) -> Float[Array, "b m 1 c"]:
        b, n, _, c = x.shape
        return dense(2 * c)(x).reshape(b, 2 * n, 1, c)


def dense(features: int) -> nn.Dense:
    """A linear map as all layers here have it."""
    return nn.Dense(features, kernel_init=fan_avg())

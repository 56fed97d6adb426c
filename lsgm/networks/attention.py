r"""Self-attention over the pixels of a feature map, one head.

    q, k, v = linear(GroupNorm(x)),   a = softmax(q k^T / sqrt(c)) v,          (1)
    out = (x + W a) / sqrt(2)                                              (2)

W starts near zero, so that the block starts as a rescaled identity.

Source: DDPM, arXiv 2006.11239; the rescaling, Song et al., arXiv 2011.13456.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lsgm.networks.layers import NEAR_ZERO, GroupNorm, fan_avg
from lsgm.typing import Array, Float

ROOT_HALF = 0.5**0.5


class AttentionBlock(nn.Module):
    """Eqs. (1) and (2); the softmax is taken in fp32."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        b, h, w, c = x.shape
        dense = functools.partial(nn.Dense, c, dtype=self.dtype)
        tokens = GroupNorm(name="norm")(x).reshape(b, h * w, c)
        init = fan_avg(0.1)
        query = dense(kernel_init=init, name="query")(tokens)
        key = dense(kernel_init=init, name="key")(tokens)
        value = dense(kernel_init=init, name="value")(tokens)
        logits = jnp.einsum("bqc,bkc->bqk", query, key).astype(jnp.float32)
        weights = jax.nn.softmax(logits * c**-0.5).astype(self.dtype)
        mixed = jnp.einsum("bqk,bkc->bqc", weights, value)
        out = dense(kernel_init=fan_avg(NEAR_ZERO), name="out")(mixed)
        return (x + out.reshape(x.shape)) * ROOT_HALF

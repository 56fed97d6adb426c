"""Batch normalisation over all devices, with the published running statistics.

    y = scale (x - mean) / sqrt(var + 1e-5) + bias                         (1)
    running <- 0.95 running + 0.05 batch, with the unbiased variance       (2)

per channel, in fp32. Which statistics enter Eq. (1) is the caller's word,
``train``; Eq. (2) happens where the collection ``batch_stats`` is mutable, so a
caller that leaves it immutable uses batch statistics read-only.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lsgm.networks.layers import SCALES
from lsgm.typing import Array

EPSILON = 1e-5
MOMENTUM = 0.05
BATCH_STATS = "batch_stats"


class BatchNorm(nn.Module):
    """Batch normalisation, Eqs. (1) and (2), that sows its scale.

    Attributes:
      swish: multiply the result with its sigmoid.
      axis_name: mapped axis over whose devices the statistics are taken.
    """

    swish: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        self.sow(SCALES, "scale", scale)
        mean = self.variable(BATCH_STATS, "mean", jnp.zeros, channels)
        var = self.variable(BATCH_STATS, "var", jnp.ones, channels)
        y = x.astype(jnp.float32)
        if train:
            center, spread = self._moments(y)
            if self.is_mutable_collection(BATCH_STATS):
                unbiased = spread * self._unbias(y)
                mean.value += MOMENTUM * (center - mean.value)
                var.value += MOMENTUM * (unbiased - var.value)
        else:
            center, spread = mean.value, var.value
        slope = scale * jax.lax.rsqrt(spread + EPSILON)
        y = (y - center[None, None, None]) * slope[None, None, None]
        y = y + bias[None, None, None]
        return (nn.swish(y) if self.swish else y).astype(x.dtype)

    def _moments(self, x: Array) -> tuple[Array, Array]:
        # Two passes: the mean of squares loses digits where |mean| >> deviation.
        mean = x.mean(axis=(0, 1, 2))
        var = ((x - mean[None, None, None]) ** 2).mean(axis=(0, 1, 2))
        if self.axis_name is None:
            return mean, var
        # One collective for both moments; the variance of all is that within devices
        # and that between them.
        own = jax.lax.all_gather(jnp.stack((mean, var)), self.axis_name)
        mean = own[:, 0].mean(axis=0)
        return mean, (own[:, 1] + (own[:, 0] - mean[None]) ** 2).mean(axis=0)

    def _unbias(self, x: Array) -> float:
        devices = 1 if self.axis_name is None else jax.lax.axis_size(self.axis_name)
        num = x.size // x.shape[-1] * devices
        return num / max(num - 1, 1)

r"""Noise that styles a network: mapping network, adaptive group normalisation.

A latent z ~ N(0, I) becomes a style w, and w sets scale and shift of each map h:

    w = M(z / sqrt(mean(z^2) + 1e-8)),  M layers of linear and swish,      (1)
    scale(w) GN(h) + shift(w),   scale and shift linear, from 1 and 0 at w = 0,    (2)

GN without parameters. The residual block of ``lsgm.networks.ncsnpp_blocks`` then has
(2) in the place of its first or of both normalisations.

Sources: StyleGAN, arXiv 1812.04948, for (1); Denoising diffusion GANs, arXiv
2112.07804, section 4 and appendix B.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lsgm.networks.attention import ROOT_HALF
from lsgm.networks.layers import (
    NEAR_ZERO,
    Dropout,
    GroupNorm,
    fan_avg,
    group_moments,
    norm_groups,
)
from lsgm.networks.ncsnpp_blocks import ResBlock
from lsgm.typing import Array, Float, PRNGKey


class Mapping(nn.Module):
    """Style w of a latent z, Eq. (1).

    Attributes:
      features: of w, and of the layers before it.
      num_layers: layers after the first.
    """

    features: int
    num_layers: int

    @nn.compact
    def __call__(self, z: Float[Array, "b n"]) -> Float[Array, "b s"]:
        h = z * jax.lax.rsqrt(jnp.mean(z**2, axis=-1, keepdims=True) + 1e-8)
        for i in range(self.num_layers + 1):
            dense = nn.Dense(self.features, kernel_init=fan_avg(), name=f"linear_{i}")
            h = nn.swish(dense(h))
        return h


class AdaptiveGroupNorm(nn.Module):
    """Group normalisation whose scale and shift are a style's, Eq. (2). fp32 inside."""

    epsilon: float = 1e-6

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], style: Float[Array, "b s"]
    ) -> Float[Array, "b h w c"]:
        channels = x.shape[-1]
        dense = nn.Dense(
            2 * channels, kernel_init=fan_avg(), bias_init=_ones_zeros, name="style"
        )
        scale, shift = jnp.split(dense(style)[:, None, None], 2, axis=-1)
        y = x.astype(jnp.float32)
        mean, var = group_moments(y, norm_groups(channels))
        slope = jax.lax.rsqrt(var + self.epsilon) * scale
        return (y * slope + shift - mean * slope).astype(x.dtype)


class AdaptiveResBlock(ResBlock):
    """The residual block with normalisations that a style sets.

    Attributes:
      time_channels: of the conditions, how many are the time's; the others are the
        style's.
      adaptive_norms: 2, or 1 for the first normalisation alone.
    """

    time_channels: int = 512
    adaptive_norms: int = 2

    @nn.compact
    def __call__(self, x: Array, embedded: Array, train: bool) -> Array:
        embedded, style = jnp.split(embedded, [self.time_channels], axis=-1)
        shift = nn.Dense(self.features, kernel_init=fan_avg(), name="time")(embedded)
        h = AdaptiveGroupNorm(name="norm_0")(x, style)
        h = self._conv("conv_0")(self._resample(nn.swish(h)))
        h = h + shift.astype(self.dtype)[:, None, None]
        if self.adaptive_norms == 2:
            h = AdaptiveGroupNorm(name="norm_1")(h, style)
        else:
            h = GroupNorm(name="norm_1")(h)
        h = Dropout(self.dropout, name="dropout")(nn.swish(h), train)
        h = self._conv("conv_1", NEAR_ZERO)(h)
        if self.kind != "normal" or x.shape[-1] != self.features:
            x = self._conv("skip", size=1)(self._resample(x))
        return (x + h) * ROOT_HALF


def _ones_zeros(key: PRNGKey, shape: tuple[int, ...], *_: Any) -> Array:
    """Scales 1, then shifts 0."""
    del key
    return jnp.repeat(jnp.array([1.0, 0.0]), shape[0] // 2)

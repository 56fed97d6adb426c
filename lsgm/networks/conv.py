"""A small convolutional VAE: one latent group, no hierarchy.

Each level halves the image: a strided convolution, normalisation, swish, and a
residual convolution; the decoder mirrors it with nearest enlargement. For data
that do not need an NVAE, and to try an idea in minutes.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from lsgm.networks.layers import Conv, GroupNorm
from lsgm.networks.posterior import draw_posterior
from lsgm.networks.resample import nearest_up
from lsgm.typing import Array, Image, Latents


class ConvVAE(nn.Module):
    """Network of a plain VAE.

    Attributes:
      channels: features by level, finest first; each level halves the image.
      latent_channels: of the one latent map.
      num_outputs: parameters of the likelihood per pixel.
      norm_groups: groups of the normalisation; 0 for none.
      log_std_clamp: bound of |log std| of the posterior.
      axis_name: mapped device axis; no statistic here is taken over the batch.
      dtype: of the features; latents and densities are fp32.
    """

    channels: tuple[int, ...]
    latent_channels: int
    num_outputs: int
    norm_groups: int = 4
    log_std_clamp: float = 5.0
    axis_name: str | None = None
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels = {self.channels!r}: needs levels >= 1 channel")
        for name in ("latent_channels", "num_outputs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be >= 1")
        if self.norm_groups < 0 or any(
            c % max(self.norm_groups, 1) for c in self.channels
        ):
            raise ValueError(
                f"norm_groups = {self.norm_groups}: must divide channels = "
                f"{self.channels!r}, or be 0"
            )
        if self.log_std_clamp <= 0:
            raise ValueError(f"log_std_clamp = {self.log_std_clamp}: must be > 0")
        super().__post_init__()

    def latent_shapes(
        self, data_shape: tuple[int, int, int]
    ) -> tuple[tuple[tuple[int, int, int], ...], ...]:
        """(h, w, c) of the one group of the one scale.

        Raises:
          ValueError: the image does not halve once per level.
        """
        factor = 2 ** len(self.channels)
        h, w, _ = data_shape
        if h % factor or w % factor:
            raise ValueError(
                f"data_shape = {data_shape!r}: height and width must be multiples "
                f"of {factor} (one halving for each of {len(self.channels)} channels)"
            )
        return (((h // factor, w // factor, self.latent_channels),),)

    def setup(self) -> None:
        shared: dict[str, Any] = dict(norm_groups=self.norm_groups, dtype=self.dtype)
        self.encoder = [Level(c, "down", **shared) for c in self.channels]
        self.posterior = Conv(2 * self.latent_channels, dtype=self.dtype)
        self.start = Conv(self.channels[-1], dtype=self.dtype)
        self.decoder = [Level(c, "up", **shared) for c in self.channels[::-1]]
        self.head = Conv(self.num_outputs, dtype=self.dtype)

    def __call__(
        self, x: Image, noise: Latents, *, train: bool
    ) -> tuple[Latents, Latents, Array]:
        """As ``NVAE``: latents, their log q per variable in nats, the likelihood's
        parameters [b h w num_outputs]."""
        z, log_q = self.encode(x, noise, train=train)
        return z, log_q, self.decode(z, train=train)

    def encode(
        self, x: Image, noise: Latents, *, train: bool
    ) -> tuple[Latents, Latents]:
        """The latent and its log q alone; alike in both modes."""
        h = x
        for level in self.encoder:
            h = level(h)
        z, log_q = draw_posterior(self.posterior(h), noise[0], self.log_std_clamp)
        return (z,), (log_q,)

    def decode(self, z: Latents, *, train: bool) -> Array:
        """The likelihood's parameters for a given latent; alike in both modes."""
        h = self.start(z[0])
        for level in self.decoder:
            h = level(h)
        return self.head(h).astype(jnp.float32)


class Level(nn.Module):
    """Change the resolution by two, then one residual convolution."""

    features: int
    kind: str
    norm_groups: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if self.kind == "up":
            x = nearest_up(x)
        strides = 2 if self.kind == "down" else 1
        h = Conv(self.features, strides=strides, dtype=self.dtype, name="resize")(x)
        h = self._activate(h, "norm_0")
        residual = Conv(self.features, dtype=self.dtype, name="residual")(h)
        return h + self._activate(residual, "norm_1")

    def _activate(self, h: Array, name: str) -> Array:
        if self.norm_groups:
            h = GroupNorm(self.norm_groups, name=name)(h)
        return nn.swish(h)

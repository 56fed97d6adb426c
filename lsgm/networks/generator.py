"""Generators that guess the data behind a noisy state: NCSN++ with a style.

x_k, its level k, and a latent z that makes the guess random: the U-Net of
``lsgm.networks.ncsnpp`` with the normalisations of ``lsgm.networks.adaptive``, and at
its end a hyperbolic tangent, for data in [-1, 1].

Source: Denoising diffusion GANs, arXiv 2112.07804, appendix B.
"""

import flax.linen as nn
import jax.numpy as jnp

from lsgm.networks.adaptive import AdaptiveResBlock, Mapping
from lsgm.networks.embeddings import Positional
from lsgm.networks.ncsnpp import NCSNpp
from lsgm.typing import Array, Float, Int


class Generator(NCSNpp):
    """A guess of x_0 from x_k.

    Attributes:
      latent_dim: entries of z.
      style_channels: of the style; mapping_layers: of its network, the first apart.
      adaptive_norms: how many of a block's two normalisations the style sets.
      bounded: end with tanh; not for latents, which have no bounds.

    Raises:
      ValueError: a field that no network can have.
    """

    embedding: nn.Module = Positional(scale=1.0)
    dropout: float = 0.0
    progressive_input: str = "residual"
    latent_dim: int = 100
    style_channels: int = 256
    mapping_layers: int = 3
    adaptive_norms: int = 2
    bounded: bool = True

    def __post_init__(self) -> None:
        for name in ("latent_dim", "style_channels"):
            self._require(name, getattr(self, name) >= 1, "must be >= 1")
        self._require("mapping_layers", self.mapping_layers >= 0, "must be >= 0")
        self._require("adaptive_norms", self.adaptive_norms in (1, 2), "1 or 2")
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        level: Int[Array, " b"],
        z: Float[Array, "b n"],
        *,
        train: bool,
    ) -> Float[Array, "b h w d"]:
        """x_0 as ``z`` guesses it.

        Args:
          x: x_k.
          level: k of each example, from 1, int32; the network sees k - 1.
          z: standard normal.

        Raises:
          ValueError: the resolution does not halve down to the coarsest level.
        """
        self._check_resolution(x.shape)
        style = Mapping(self.style_channels, self.mapping_layers, name="mapping")(z)
        time = self._embed((level - 1).astype(jnp.float32))
        conditions = jnp.concatenate([time, style], axis=-1)
        h = self._conv(self.channels, "stem")(x.astype(self.dtype))
        stack = self._down(x, h, conditions, train)
        h = self._block(stack[-1], conditions, train, "mid_0")
        h = self._attention("mid_attention")(h)
        h = self._block(h, conditions, train, "mid_1")
        out = self._up(h, stack, conditions, train, self.out_channels or x.shape[-1])
        out = out.astype(x.dtype)
        return jnp.tanh(out) if self.bounded else out

    def _block(
        self,
        h: Array,
        embedded: Array,
        train: bool,
        name: str,
        *,
        level: int | None = None,
        kind: str = "normal",
    ) -> Array:
        """As in NCSN++, adaptive."""
        block = AdaptiveResBlock
        if self.remat:
            block = nn.remat(block, static_argnums=(3,))
        width = h.shape[-1]
        return block(
            width if level is None else self.channels * self.channel_mult[level],
            kind=kind,
            fir=self.fir,
            dropout=self.dropout,
            dtype=self.dtype,
            time_channels=self.time_channels,
            adaptive_norms=self.adaptive_norms,
            name=name,
        )(h, embedded, train)

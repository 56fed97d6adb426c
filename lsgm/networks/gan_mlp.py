r"""Generator and discriminator for data without spatial structure: toy problems.

    h <- lrelu(linear(h) + linear(e)),   ``depth`` times,                  (1)

e features of k - 1. The generator starts from [x_k, z] and ends with a guess of x_0;
the discriminator starts from [x_{k-1}, x_k] and ends with a logit. Both may see waves
of their inputs v as well, sin and cos of 2^j v for j < ``octaves``: a network of raw
coordinates learns edges of a hundredth of the data's width late. Everything is fp32.

Source: Denoising diffusion GANs, arXiv 2112.07804, section 5.4 (25 Gaussians).
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from lsgm.networks.discriminator import lrelu
from lsgm.networks.embeddings import Positional
from lsgm.networks.layers import fan_avg
from lsgm.typing import Array, Float, Int, PerExample


class Hidden(nn.Module):
    """Eq. (1), with waves of its input."""

    width: int
    depth: int
    octaves: int
    embedding: nn.Module

    @nn.compact
    def __call__(
        self, h: Float[Array, "b n"], level: Int[Array, " b"]
    ) -> Float[Array, "b m"]:
        features = self.embedding((level - 1).astype(jnp.float32))
        rates = jnp.exp2(jnp.arange(self.octaves, dtype=h.dtype))
        phases = (h[..., None] * rates[None, None]).reshape(h.shape[0], -1)
        h = jnp.concatenate([h, jnp.sin(phases), jnp.cos(phases)], axis=-1)
        for i in range(self.depth):
            dense = nn.Dense(self.width, kernel_init=fan_avg(), name=f"hidden_{i}")
            shift = nn.Dense(self.width, kernel_init=fan_avg(), name=f"time_{i}")
            h = lrelu(dense(h) + shift(features))
        return h


class MLPGenerator(nn.Module):
    """A guess of x_0 from x_k and a latent; sees all of x_k at once.

    Attributes:
      width, depth: of the hidden layers.
      latent_dim: entries of z; 0 makes the guess deterministic.
      octaves: of the waves; 0 for none.
      embedding: features of k - 1.
    """

    width: int = 512
    depth: int = 3
    latent_dim: int = 2
    octaves: int = 0
    embedding: nn.Module = Positional(dim=32, scale=1.0)

    def __post_init__(self) -> None:
        _check(self, width=1, depth=1, latent_dim=0, octaves=0)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        level: Int[Array, " b"],
        z: Float[Array, "b n"],
        *,
        train: bool,
    ) -> Float[Array, "b h w c"]:
        """As ``lsgm.networks.generator.Generator``."""
        del train
        h = jnp.concatenate([x.reshape(x.shape[0], -1), z], axis=-1)
        body = Hidden(self.width, self.depth, self.octaves, self.embedding, name="body")
        h, size = body(h, level), math.prod(x.shape[1:])
        return nn.Dense(size, kernel_init=fan_avg(), name="head")(h).reshape(x.shape)


class MLPDiscriminator(nn.Module):
    """Logit of a pair; sees both at once.

    Attributes:
      width, depth: of the hidden layers.
      octaves: of the waves; 0 for none.
      embedding: features of k - 1.
    """

    width: int = 512
    depth: int = 3
    octaves: int = 0
    embedding: nn.Module = Positional(dim=32, scale=1.0)

    def __post_init__(self) -> None:
        _check(self, width=1, depth=1, octaves=0)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        cleaner: Float[Array, "b h w c"],
        noisier: Float[Array, "b h w c"],
        level: Int[Array, " b"],
        *,
        train: bool,
    ) -> PerExample:
        """As ``lsgm.networks.discriminator.Discriminator``."""
        del train
        b = cleaner.shape[0]
        h = jnp.concatenate([v.reshape(b, -1) for v in (cleaner, noisier)], axis=-1)
        body = Hidden(self.width, self.depth, self.octaves, self.embedding, name="body")
        return nn.Dense(1, kernel_init=fan_avg(), name="logit")(body(h, level))[:, 0]


def _check(module: nn.Module, **least: int) -> None:
    """Refuse fields below the least that they can be."""
    for name, bound in least.items():
        if getattr(module, name) < bound:
            raise ValueError(f"{name} = {getattr(module, name)!r}: must be >= {bound}")

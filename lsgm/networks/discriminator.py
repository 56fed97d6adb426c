r"""Discriminators of pairs (x_{k-1}, x_k): one logit each.

    h = conv1([x_{k-1}, x_k]);  blocks;  minibatch deviation;  conv3;  lrelu;
    sum over pixels;  linear                                               (1)

with lrelu the leaky rectifier of slope 0.2. A block, e features of k - 1, T the halving
by the filter of ``lsgm.networks.resample`` or nothing,

    h = lrelu(conv3(lrelu(x)) + linear(e)),
    out = (conv1(T x) + conv3(T h)) / sqrt(2),                             (2)

its last convolution near zero at the start. The minibatch deviation is one more
channel, constant over each group of examples: the deviation within the group, averaged
over pixels and channels. It tells a generator without variety from the data.

Sources: Denoising diffusion GANs, arXiv 2112.07804, appendix B; Karras et al., arXiv
1710.10196, section 3, for the minibatch deviation.
"""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from lsgm.networks import resample
from lsgm.networks.attention import ROOT_HALF
from lsgm.networks.embeddings import Positional
from lsgm.networks.layers import NEAR_ZERO, Conv, fan_avg
from lsgm.typing import Array, Float, Int, PerExample

SLOPE = 0.2
GROUP_SIZE = 4


class Discriminator(nn.Module):
    """Logit that x_{k-1} is of the data, given x_k, Eq. (1).

    Attributes:
      stem: channels before the blocks.
      widths: of the blocks, each of which halves the resolution.
      keep_first: the first block keeps the resolution: for small images.
      head_scale: of the last convolution's first weights; near zero for small images.
      embedding: features of k - 1; time_channels: of the two layers on top of them.
      dtype: of the features; parameters, deviations and logits are fp32.

    Raises:
      ValueError: no block, or one without channels.
    """

    stem: int = 128
    widths: tuple[int, ...] = (128, 256, 512, 512)
    keep_first: bool = True
    head_scale: float = NEAR_ZERO
    embedding: nn.Module = Positional(dim=256, scale=1.0)
    time_channels: int = 256
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        if not self.widths or min(self.stem, *self.widths) < 1:
            raise ValueError(
                f"stem = {self.stem!r}, widths = {self.widths!r}: at least one block, "
                "each of at least one channel"
            )
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
        """Logits of the pairs.

        Args:
          cleaner, noisier: x_{k-1} and x_k.
          level: k of each example, from 1, int32.

        Raises:
          ValueError: the resolution does not halve once per block.
        """
        del train
        halvings = len(self.widths) - self.keep_first
        if any(side % 2**halvings for side in cleaner.shape[1:3]):
            raise ValueError(
                f"data of {cleaner.shape[1]} x {cleaner.shape[2]}: widths = "
                f"{self.widths!r} need multiples of {2**halvings}"
            )
        features = self._embed(level)
        h = jnp.concatenate([cleaner, noisier], axis=-1).astype(self.dtype)
        h = Conv(self.stem, (1, 1), dtype=self.dtype, name="stem")(h)
        for i, width in enumerate(self.widths):
            halve = i > 0 or not self.keep_first
            h = DownBlock(width, halve, self.dtype, name=f"block_{i}")(h, features)
        h = append_deviation(h)
        head = Conv(
            self.widths[-1],
            kernel_init=fan_avg(self.head_scale),
            dtype=self.dtype,
            name="head",
        )
        h = lrelu(head(h)).astype(jnp.float32).sum(axis=(1, 2))
        return nn.Dense(1, kernel_init=fan_avg(), name="logit")(h)[:, 0]

    def _embed(self, level: Int[Array, " b"]) -> Float[Array, "b t"]:
        h = self.embedding((level - 1).astype(jnp.float32))
        for i in range(2):
            init = fan_avg()
            dense = nn.Dense(self.time_channels, kernel_init=init, name=f"time_{i}")
            h = lrelu(dense(h))
        return h


class DownBlock(nn.Module):
    """Eq. (2).

    Attributes:
      halve: take half the resolution.
    """

    features: int
    halve: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, features: Array) -> Array:
        shift = nn.Dense(self.features, kernel_init=fan_avg(), name="time")(features)
        h = Conv(self.features, dtype=self.dtype, name="conv_0")(lrelu(x))
        h = lrelu(h + shift.astype(self.dtype)[:, None, None])
        if self.halve:
            h, x = (resample.down(v, fir=True) for v in (h, x))
        h = Conv(
            self.features,
            kernel_init=fan_avg(NEAR_ZERO),
            dtype=self.dtype,
            name="conv_1",
        )(h)
        skip = Conv(
            self.features, (1, 1), use_bias=False, dtype=self.dtype, name="skip"
        )
        return (h + skip(x)) * ROOT_HALF


def append_deviation(x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
    """One more channel: the minibatch deviation within groups of the batch.

    A group has four examples, or as many as a batch of another size has in common with
    four; example i is in group i mod (b / size).
    """
    b, h, w, c = x.shape
    size = math.gcd(b, GROUP_SIZE)
    groups = x.astype(jnp.float32).reshape(size, b // size, h, w, c)
    # Of identical examples, the root's slope would be infinite.
    deviation = jnp.sqrt(groups.var(axis=0) + 1e-8).mean(axis=(1, 2, 3))
    per_example = jnp.tile(deviation, size).astype(x.dtype)
    more = jnp.broadcast_to(per_example[:, None, None, None], (b, h, w, 1))
    return jnp.concatenate([x, more], axis=-1)


def lrelu(x: Array) -> Array:
    """The leaky rectifier of slope 0.2."""
    return nn.leaky_relu(x, SLOPE)

r"""NCSN++: the U-Net that predicts the noise in a latent map.

Level i, finest first, has channels * channel_mult[i] channels at 1/2^i of the
input's resolution.

    down   at each level: blocks, each pushed on a stack; then a halving block, pushed
    middle block, attention, block
    up     at each level, coarsest first: one block more than on the way down, each on
           [h, pop]; attention; then a doubling block
    head   group norm, swish, 3x3 convolution that starts near zero

Blocks at a resolution in ``attention_resolutions`` are followed by attention. The
published LSGM models use nothing else. Beside that path there may be two pyramids:

    input   p <- halve(p), h <- combine(p, h) at each halving, from p = u
    output  p <- twice(p) + head(h) at each level, from zero; p is then the output

("skip"), or with convolutions that take p to the width of h, and h <- (p + h) /
sqrt(2) ("residual").

Sources: Song et al., arXiv 2011.13456, appendix H; LSGM, arXiv 2106.05931,
appendix G.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from lsgm.networks import resample
from lsgm.networks.attention import ROOT_HALF, AttentionBlock
from lsgm.networks.embeddings import Positional
from lsgm.networks.layers import NEAR_ZERO, Conv, GroupNorm, fan_avg, norm_groups
from lsgm.networks.ncsnpp_blocks import PyramidDown, PyramidUp, ResBlock
from lsgm.typing import Array, Float, Time

PYRAMIDS = ("none", "skip", "residual")
COMBINE = ("sum", "concat")


class NCSNpp(nn.Module):
    """Noise predictor eps'(u, t).

    Attributes:
      channels: width of level i over ``channel_mult[i]``.
      attention_resolutions: heights of the maps that get attention.
      fir: resample with the filter (1, 3, 3, 1) instead of mean and repetition.
      dropout: rate, in training; draws from the rng collection "dropout".
      embedding: features of t, a module of ``lsgm.networks.embeddings``.
      time_channels: width of the two layers on top of those features.
      progressive_input, progressive_output: "none", "skip" or "residual".
      progressive_combine: how a skipped input joins: "sum" or "concat".
      out_channels: the input's when None.
      dtype: of the features; parameters, norms, softmax, time are fp32.
      remat: recompute each block's activations in the backward pass.

    Raises:
      ValueError: a field that no network can have.
    """

    channels: int
    channel_mult: tuple[int, ...] = (1, 1, 1)
    blocks_per_level: int = 8
    attention_resolutions: tuple[int, ...] = (16,)
    fir: bool = False
    dropout: float = 0.2
    embedding: nn.Module = Positional()
    time_channels: int = 512
    progressive_input: str = "none"
    progressive_output: str = "none"
    progressive_combine: str = "sum"
    out_channels: int | None = None
    dtype: Any = jnp.float32
    remat: bool = False

    def __post_init__(self) -> None:
        for name in ("channels", "blocks_per_level", "time_channels"):
            self._require(name, getattr(self, name) >= 1, "must be >= 1")
        out = self.out_channels
        self._require("out_channels", out is None or out >= 1, "must be >= 1, or None")
        mults = self.channel_mult
        self._require(
            "channel_mult",
            len(mults) >= 1 and min(mults) >= 1,
            "needs at least one factor, each >= 1",
        )
        self._require("dropout", 0 <= self.dropout < 1, "must be in [0, 1)")
        for name in ("progressive_input", "progressive_output"):
            allowed = getattr(self, name) in PYRAMIDS
            self._require(name, allowed, f"allowed are {', '.join(PYRAMIDS)}")
        self._require(
            "progressive_combine",
            self.progressive_combine in COMBINE,
            f"allowed are {', '.join(COMBINE)}",
        )
        for width in self._normalised_widths():
            groups = norm_groups(width)
            self._require(
                "channels",
                groups >= 1 and width % groups == 0,
                f"a map of {width} channels does not split into groups of at least "
                "four; take a multiple of 4, above 128 of 32",
            )
        super().__post_init__()

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ValueError(f"{name} = {getattr(self, name)!r}: {allowed}")

    def _normalised_widths(self) -> set[int]:
        """Channels of every map that meets a group normalisation."""
        levels = [self.channels * mult for mult in self.channel_mult]
        wide = self.progressive_input == "skip" and self.progressive_combine == "concat"
        stack, h, widths = [self.channels], self.channels, {self.channels}
        for width in levels:
            widths |= {h, width}
            h = width * (2 if wide else 1)
            stack += [width] * self.blocks_per_level + [h]
        h = stack.pop() // (2 if wide else 1)
        for width in reversed(levels):
            for _ in range(self.blocks_per_level + 1):
                widths |= {h + stack.pop(), width}
                h = width
        return widths

    @nn.compact
    def __call__(
        self, u: Float[Array, "b h w c"], t: Time, *, train: bool
    ) -> Float[Array, "b h w d"]:
        """Predicted noise eps' of latents ``u`` at times ``t``.

        Raises:
          ValueError: the resolution does not halve down to the coarsest level.
        """
        self._check_resolution(u.shape)
        embedded = self._embed(t)
        h = self._conv(self.channels, "stem")(u.astype(self.dtype))
        stack = self._down(u, h, embedded, train)
        h = self._block(stack[-1], embedded, train, "mid_0")
        h = self._attention("mid_attention")(h)
        h = self._block(h, embedded, train, "mid_1")
        channels = u.shape[-1] if self.out_channels is None else self.out_channels
        out = self._up(h, stack, embedded, train, channels)
        return out.astype(u.dtype)

    def _check_resolution(self, shape: tuple[int, ...]) -> None:
        multiple = 2 ** (len(self.channel_mult) - 1)
        if shape[1] % multiple or shape[2] % multiple:
            raise ValueError(
                f"latent of {shape[1]} x {shape[2]}: channel_mult = "
                f"{self.channel_mult!r} needs multiples of {multiple}"
            )

    def _embed(self, t: Time) -> Array:
        """swish of the time embedding, [b time_channels], the input of every block."""
        h = self.embedding(t)
        for i in range(2):
            dense = nn.Dense(
                self.time_channels, kernel_init=fan_avg(), name=f"time_{i}"
            )
            h = nn.swish(dense(h))
        return h

    def _down(self, u: Array, h: Array, embedded: Array, train: bool) -> list[Array]:
        pyramid, stack = u.astype(self.dtype), [h]
        for i in range(len(self.channel_mult)):
            for j in range(self.blocks_per_level):
                h = self._block(stack[-1], embedded, train, f"down_{i}_{j}", level=i)
                if h.shape[1] in self.attention_resolutions:
                    h = self._attention(f"down_{i}_{j}_attention")(h)
                stack.append(h)
            if i < len(self.channel_mult) - 1:
                h = self._block(h, embedded, train, f"halve_{i}", kind="down")
                pyramid, h = self._feed(pyramid, h, f"input_{i}")
                stack.append(h)
        return stack

    def _feed(self, pyramid: Array, h: Array, name: str) -> tuple[Array, Array]:
        """One step down the input pyramid, and its meeting with ``h``."""
        if self.progressive_input == "skip":
            pyramid = resample.down(pyramid, fir=self.fir)
            p = self._conv(h.shape[-1], name, size=1)(pyramid)
            if self.progressive_combine == "concat":
                return pyramid, jnp.concatenate([p, h], axis=-1)
            return pyramid, p + h
        if self.progressive_input == "residual":
            halve = PyramidDown(h.shape[-1], self.fir, self.dtype, name=name)
            h = (halve(pyramid) + h) * ROOT_HALF
            return h, h
        return pyramid, h

    def _up(
        self, h: Array, stack: list[Array], embedded: Array, train: bool, out: int
    ) -> Array:
        pyramid = None
        for i in reversed(range(len(self.channel_mult))):
            for j in range(self.blocks_per_level + 1):
                h = jnp.concatenate([h, stack.pop()], axis=-1)
                h = self._block(h, embedded, train, f"up_{i}_{j}", level=i)
            if h.shape[1] in self.attention_resolutions:
                h = self._attention(f"up_{i}_attention")(h)
            pyramid, h = self._gather(pyramid, h, f"output_{i}", out)
            if i > 0:
                h = self._block(h, embedded, train, f"double_{i}", kind="up")
        if self.progressive_output == "skip" and pyramid is not None:
            return pyramid
        return self._head(h, out, "head", NEAR_ZERO)

    def _gather(
        self, pyramid: Array | None, h: Array, name: str, out: int
    ) -> tuple[Array | None, Array]:
        """One step up the output pyramid, and what it takes from ``h``."""
        if self.progressive_output == "skip":
            p = self._head(h, out, name, NEAR_ZERO)
            return p if pyramid is None else p + resample.up(pyramid, fir=self.fir), h
        if self.progressive_output == "residual":
            if pyramid is None:
                return self._head(h, h.shape[-1], name), h
            twice = PyramidUp(h.shape[-1], self.fir, self.dtype, name=name)
            h = (twice(pyramid) + h) * ROOT_HALF
            return h, h
        return None, h

    def _head(self, h: Array, features: int, name: str, scale: float = 1.0) -> Array:
        h = nn.swish(GroupNorm(name=f"{name}_norm")(h))
        return self._conv(features, name, scale)(h)

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
        """A residual block; it keeps the width unless it belongs to a level."""
        block = nn.remat(ResBlock, static_argnums=(3,)) if self.remat else ResBlock
        width = h.shape[-1]
        return block(
            width if level is None else self.channels * self.channel_mult[level],
            kind=kind,
            fir=self.fir,
            dropout=self.dropout,
            dtype=self.dtype,
            name=name,
        )(h, embedded, train)

    def _attention(self, name: str) -> nn.Module:
        block = nn.remat(AttentionBlock) if self.remat else AttentionBlock
        return block(self.dtype, name=name)

    def _conv(
        self, features: int, name: str, scale: float = 1.0, size: int = 3
    ) -> Conv:
        return Conv(
            features,
            (size, size),
            kernel_init=fan_avg(scale),
            dtype=self.dtype,
            name=name,
        )

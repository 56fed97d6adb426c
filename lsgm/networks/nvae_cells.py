"""Residual cells of the NVAE.

    out = skip(s) + 0.1 SE(branch(s))                                      (1)

A cell keeps the resolution ("normal"), halves it ("down") or doubles it ("up").
The skip is the identity, a factorised reduction, or a bilinear enlargement with a
1x1 convolution. The branch is one of two: twice BN-swish-convolution, or an
inverted residual (1x1 expansion, depthwise 5x5, 1x1 projection, each between batch
normalisations).

Source: NVAE, arXiv 2007.03898, section 3.1; LSGM's published models.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp

from lsgm.networks.layers import (
    Conv,
    DepthwiseConv,
    SqueezeExcite,
    WNConv,
    uniform_fan_in,
)
from lsgm.networks.norm import BatchNorm
from lsgm.networks.resample import bilinear_up, nearest_up
from lsgm.typing import Array

RESIDUAL_SCALE = 0.1
KINDS = ("normal", "down", "up")


class ResidualCell(nn.Module):
    """Eq. (1).

    Attributes:
      kind: "normal", "down" or "up".
      expansion: hidden width of an inverted residual over its input's; 0 for
        twice BN-swish-convolution.
    """

    features: int
    kind: str = "normal"
    expansion: int = 0
    use_se: bool = True
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        if self.expansion:
            branch = InvertedResidual(
                self.features, self.kind, self.expansion, self.axis_name, name="branch"
            )(x, train)
        else:
            branch = x
            for i, kind in enumerate((self.kind, "normal")):
                branch = BNSwishConv(
                    self.features, kind, self.axis_name, name=f"op_{i}"
                )(branch, train)
        if self.use_se:
            branch = SqueezeExcite(name="se")(branch)
        return self._skip(x) + RESIDUAL_SCALE * branch

    def _skip(self, x: Array) -> Array:
        if self.kind == "down":
            return FactorizedReduce(self.features, name="skip")(x)
        if self.kind == "up":
            # The 1x1 convolution commutes with the interpolation; it is four
            # times cheaper before it.
            conv = WNConv(self.features, (1, 1), use_bias=False, name="skip")
            return bilinear_up(conv(x))
        return x


class BNSwishConv(nn.Module):
    """Batch normalisation, swish, 3x3 convolution; halves, doubles or keeps."""

    features: int
    kind: str = "normal"
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = BatchNorm(swish=True, axis_name=self.axis_name, name="norm")(x, train)
        if self.kind == "up":
            x = nearest_up(x)
        return WNConv(self.features, strides=stride(self.kind), name="conv")(x)


class InvertedResidual(nn.Module):
    """Mobile inverted residual with a depthwise 5x5; its convolutions are plain."""

    features: int
    kind: str
    expansion: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        norm = functools.partial(BatchNorm, axis_name=self.axis_name)
        if self.kind == "up":
            x = nearest_up(x)
        hidden = self.expansion * x.shape[-1]
        x = norm(name="norm_in")(x, train)
        x = self._pointwise(hidden, x, "expand")
        x = norm(swish=True, name="norm_expand")(x, train)
        x = DepthwiseConv(strides=stride(self.kind), name="depthwise")(x)
        x = norm(swish=True, name="norm_depthwise")(x, train)
        x = self._pointwise(self.features, x, "project")
        return norm(name="norm_out")(x, train)

    def _pointwise(self, features: int, x: Array, name: str) -> Array:
        return Conv(
            features,
            (1, 1),
            use_bias=False,
            kernel_init=uniform_fan_in(),
            dtype=x.dtype,
            name=name,
        )(x)


class FactorizedReduce(nn.Module):
    """Halve the resolution: swish, then a 1x1 convolution of each of the four
    pixels of a 2x2 block, concatenated on channels."""

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.swish(x)
        quarter = self.features // 4
        widths = (quarter, quarter, quarter, self.features - 3 * quarter)
        offsets = ((0, 0), (1, 1), (0, 1), (1, 0))
        parts = [
            WNConv(width, (1, 1), name=f"conv_{i}")(x[:, row::2, col::2])
            for i, (width, (row, col)) in enumerate(zip(widths, offsets, strict=True))
        ]
        return jnp.concatenate(parts, axis=-1)


def stride(kind: str) -> int:
    """Stride of the convolution that changes the resolution."""
    return 2 if kind == "down" else 1

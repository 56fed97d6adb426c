r"""Blocks of the NCSN++ U-Net.

The residual block (BigGAN type), with T an optional resampling and e the time
embedding:

    h = conv3(T swish GN(x)) + linear(e)                                   (1)
    h = conv3(dropout swish GN(h))                                         (2)
    out = (S T x + h) / sqrt(2)                                            (3)

where S is a 1x1 convolution if the width or the resolution changes, else the
identity. The last convolution starts near zero.

Pyramids carry the network's input (output) down (up) beside the U-Net. Their
convolutions with stride come fused with the filter of ``resample``:

    halve  = conv3_stride2(filter(x)),     twice = conv3(filter(stretch(x)))   (4)

with zeros beyond the border of x only, not beyond the border of what is between.

Source: Song et al., arXiv 2011.13456, appendix H; StyleGAN2, arXiv 1912.04958.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lsgm.networks import resample
from lsgm.networks.attention import ROOT_HALF
from lsgm.networks.layers import KERNELS, NEAR_ZERO, Conv, Dropout, GroupNorm, fan_avg
from lsgm.typing import Array


class ResBlock(nn.Module):
    """Eqs. (1) to (3).

    Attributes:
      kind: "normal", "down" (half the resolution) or "up" (twice).
    """

    features: int
    kind: str = "normal"
    fir: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, embedded: Array, train: bool) -> Array:
        shift = nn.Dense(self.features, kernel_init=fan_avg(), name="time")(embedded)
        h = self._resample(nn.swish(GroupNorm(name="norm_0")(x)))
        h = self._conv("conv_0")(h) + shift.astype(self.dtype)[:, None, None]
        h = nn.swish(GroupNorm(name="norm_1")(h))
        h = Dropout(self.dropout, name="dropout")(h, train)
        h = self._conv("conv_1", NEAR_ZERO)(h)
        if self.kind != "normal" or x.shape[-1] != self.features:
            x = self._conv("skip", size=1)(self._resample(x))
        return (x + h) * ROOT_HALF

    def _resample(self, x: Array) -> Array:
        if self.kind == "down":
            return resample.down(x, fir=self.fir)
        return resample.up(x, fir=self.fir) if self.kind == "up" else x

    def _conv(self, name: str, scale: float = 1.0, size: int = 3) -> Conv:
        return Conv(
            self.features,
            (size, size),
            kernel_init=fan_avg(scale),
            dtype=self.dtype,
            name=name,
        )


class PyramidDown(nn.Module):
    """Half the resolution by convolution, Eq. (4).

    With ``fir`` its kernel is not sown: the published spectral regularisation
    leaves it out.
    """

    features: int
    fir: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if self.fir:
            x = resample.fir_smooth(resample.fir_smooth(x, 1), 2)
        else:
            x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
        return ValidConv(self.features, 2, not self.fir, self.dtype, name="conv")(x)


class PyramidUp(nn.Module):
    """Twice the resolution by convolution, Eq. (4)."""

    features: int
    fir: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        wide = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        wide = resample.up(wide, fir=self.fir)[:, 1:-1, 1:-1]
        return ValidConv(self.features, 1, not self.fir, self.dtype, name="conv")(wide)


class ValidConv(nn.Module):
    """3x3 convolution without padding.

    Attributes:
      sown: make the kernel known to spectral regularisation.
    """

    features: int
    strides: int
    sown: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", fan_avg(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if self.sown:
            self.sow(KERNELS, "kernel", kernel)
        y = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            (self.strides, self.strides),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y + bias.astype(self.dtype)[None, None, None]

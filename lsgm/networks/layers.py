"""Layers that the networks share. Each makes its kernel or scale known.

Spectral regularisation penalises the kernel that a layer *applies* (normalised,
with its gain, masked), which only the layer knows. So every convolution sows it
into the collection ``kernels``, and every normalisation its scale into
``scales``; a caller that applies the module with those collections mutable
receives them, differentiable, from the same forward pass.

A weight-normalised convolution applies, per output channel,

    w_eff = exp(g) w / (|w| + 1e-5),                                       (1)

with the norm over (height, width, in) of the kernel after its mask, if it has
one. Source: NVAE, arXiv 2007.03898, section 3.2, and LSGM's published weights.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lsgm.networks.depthwise import depthwise
from lsgm.typing import Array, Float, PRNGKey

KERNELS = "kernels"
SCALES = "scales"
# Scale of layers that start near zero. Not zero itself: that would stop the
# gradient of the layers below.
NEAR_ZERO = 1e-10


class Conv(nn.Module):
    """Plain 2-D convolution, NHWC, zero padding k // 2, that sows its kernel.

    Attributes:
      kernel_init: ``fan_avg()`` when None.
    """

    features: int
    kernel_size: Sequence[int] = (3, 3)
    strides: int = 1
    use_bias: bool = True
    kernel_init: Callable[..., Any] | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel_init = self.kernel_init or fan_avg()
        kernel = self.param("kernel", kernel_init, shape, jnp.float32)
        self.sow(KERNELS, "kernel", kernel)
        y = convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.strides)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + bias.astype(self.dtype)[None, None, None]
        return y


class GroupNorm(nn.Module):
    """Group normalisation with affine scale, that sows its scale. fp32 inside.

    Applied as x * slope + offset per channel, which the backward pass can reduce
    with two sums over pixels instead of three.

    Attributes:
      num_groups: min(channels // 4, 32) when None.
    """

    num_groups: int | None = None
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Array) -> Array:
        num_groups = self.num_groups
        if num_groups is None:
            num_groups = norm_groups(x.shape[-1])
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        self.sow(SCALES, "scale", scale)
        y = x.astype(jnp.float32)
        mean, var = group_moments(y, num_groups)
        slope = jax.lax.rsqrt(var + self.epsilon) * scale[None, None, None]
        offset = bias[None, None, None] - mean * slope
        return (y * slope + offset).astype(x.dtype)


def group_moments(
    x: Float[Array, "b h w c"], num_groups: int
) -> tuple[Float[Array, "b 1 1 c"], Float[Array, "b 1 1 c"]]:
    """Mean and variance over pixels and over the channels of a group, at each of its
    channels."""
    mean = group_mean(x, num_groups)
    # A variance is the same about any center; about the mean itself it keeps
    # its digits, and held constant the center costs no gradient of its own.
    center = jax.lax.stop_gradient(mean)
    return mean, group_mean((x - center) ** 2, num_groups) - (mean - center) ** 2


def group_mean(x: Float[Array, "b h w c"], num_groups: int) -> Float[Array, "b 1 1 c"]:
    """Mean over pixels and over the channels of a group, at each of its channels."""
    b, h, w, c = x.shape
    # Pixels first: XLA's CPU backend is slow on a sum over split axes.
    sums = x.sum(axis=(1, 2)).reshape(b, num_groups, -1).sum(axis=-1, keepdims=True)
    mean = jnp.broadcast_to(
        sums / (h * w * c / num_groups), (b, num_groups, c // num_groups)
    )
    return mean.reshape(b, 1, 1, c)


class Dropout(nn.Module):
    """Zero entries at ``rate`` in training and rescale the others, without bias.

    Sixteen random bits an entry, so that the rate is a multiple of 2^-16: threefry
    makes the mask, and half the bits take half the time.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        dropped = round(self.rate * 2**16)
        if not train or dropped == 0:
            return x
        # A flat draw has the same bits and compiles ten times as fast.
        bits = jax.random.bits(self.make_rng("dropout"), (x.size,), jnp.uint16)
        bits = bits.reshape(x.shape)
        kept = x * jnp.asarray(2**16 / (2**16 - dropped), x.dtype)
        return jnp.where(bits >= dropped, kept, jnp.zeros((), x.dtype))


class WNConv(nn.Module):
    """Weight-normalised convolution, Eq. (1), in the dtype of its input.

    Attributes:
      depthwise: one kernel per channel; ``features`` are then the input's.
      gain_init: factor on the norm that the gain starts from.
    """

    features: int
    kernel_size: tuple[int, int] = (3, 3)
    strides: int = 1
    use_bias: bool = True
    depthwise: bool = False
    gain_init: float = 1.0

    def mask(self, shape: tuple[int, ...]) -> np.ndarray | None:
        """Which taps of a kernel of ``shape`` exist; all of them here."""
        return None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels = 1 if self.depthwise else x.shape[-1]
        shape = (*self.kernel_size, channels, self.features)
        kernel = self.param("kernel", uniform_fan_in(), shape, jnp.float32)
        mask = self.mask(shape)
        if mask is not None:
            kernel = kernel * jnp.asarray(mask, kernel.dtype)
        log_gain = self.param("log_gain", self._log_gain(kernel), (self.features,))
        kernel = normalize_kernel(kernel, log_gain)
        self.sow(KERNELS, "kernel", kernel)
        apply = depthwise if self.depthwise else convolve
        y = apply(x, kernel.astype(x.dtype), self.strides)
        if self.use_bias:
            bias_init = uniform_fan_in(math.prod(shape[:-1]))
            bias = self.param("bias", bias_init, (self.features,), jnp.float32)
            y = y + bias.astype(x.dtype)[None, None, None]
        return y

    def _log_gain(self, kernel: Array) -> Callable[..., Array]:
        return lambda *_: jnp.log(self.gain_init * kernel_norm(kernel) + 0.01)


class DepthwiseConv(nn.Module):
    """One plain kernel per channel, no bias, in the dtype of its input."""

    kernel_size: tuple[int, int] = (5, 5)
    strides: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (*self.kernel_size, 1, x.shape[-1])
        kernel = self.param("kernel", uniform_fan_in(), shape, jnp.float32)
        self.sow(KERNELS, "kernel", kernel)
        return depthwise(x, kernel.astype(x.dtype), self.strides)


class SqueezeExcite(nn.Module):
    """Channel gates from the spatial mean through a two-layer network, in fp32."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels = x.shape[-1]
        gate = x.astype(jnp.float32).mean(axis=(1, 2))
        gate = nn.relu(_dense(max(channels // 16, 4), gate.shape[-1], "reduce")(gate))
        gate = nn.sigmoid(_dense(channels, gate.shape[-1], "expand")(gate))
        return x * gate.astype(x.dtype)[:, None, None]


def _dense(features: int, fan_in: int, name: str) -> nn.Dense:
    init = uniform_fan_in(fan_in)
    return nn.Dense(features, kernel_init=init, bias_init=init, name=name)


def norm_groups(channels: int) -> int:
    """Groups of four channels, at most 32 of them."""
    return min(channels // 4, 32)


def flat_uniform(
    key: PRNGKey, shape: tuple[int, ...], low: float, high: float
) -> Array:
    """U(low, high). The numbers of ``jax.random.uniform``, which compiles thirty
    times as fast for a vector as for a kernel's four axes."""
    flat = jax.random.uniform(key, (math.prod(shape),), jnp.float32, low, high)
    return flat.reshape(shape)


def fan_avg(scale: float = 1.0) -> Callable[..., Array]:
    """Initialiser with uniform weights of variance scale / mean(fan_in, fan_out)."""

    def init(key: PRNGKey, shape: tuple[int, ...], *_: Any) -> Array:
        fans = math.prod(shape[:-2]) * (shape[-2] + shape[-1])
        bound = (6 * scale / fans) ** 0.5
        return flat_uniform(key, shape, -bound, bound)

    return init


def uniform_fan_in(fan_in: int | None = None) -> Callable[..., Array]:
    """Initialiser U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    Args:
      fan_in: taken from the kernel's shape, [..., in, out], when None.
    """

    def init(key: PRNGKey, shape: tuple[int, ...], *_: Any) -> Array:
        inputs = math.prod(shape[:-1]) if fan_in is None else fan_in
        bound = inputs**-0.5
        return flat_uniform(key, shape, -bound, bound)

    return init


def kernel_norm(kernel: Array) -> Array:
    """Norm per output channel of [kh kw in out], with gradient 0 at 0."""
    square = jnp.sum(kernel**2, axis=(0, 1, 2))
    positive = square > 0
    # The root's slope at 0 is infinite; the inner where keeps it from the gradient.
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def normalize_kernel(kernel: Array, log_gain: Array) -> Array:
    """Effective kernel [kh kw in out] of Eq. (1)."""
    scale = jnp.exp(log_gain) / (kernel_norm(kernel) + 1e-5)
    return kernel * scale[None, None, None]


def convolve(x: Array, kernel: Array, strides: int = 1) -> Array:
    """Dense convolution of [b h w c] with [kh kw c d], padding k // 2."""
    pads = [(k // 2, k // 2) for k in kernel.shape[:2]]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )

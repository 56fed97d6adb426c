"""Layers that the networks share. Each makes its kernel or scale known.

Spectral regularisation penalises the kernel that a layer *applies* (normalised,
with its gain, masked), which only the layer knows. So every convolution sows it
into the collection ``kernels``, and every normalisation its scale into
``scales``; a caller that applies the module with those collections mutable
receives them, differentiable, from the same forward pass.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lsgm.typing import Array

KERNELS = "kernels"
SCALES = "scales"


class Conv(nn.Module):
    """Plain 2-D convolution, NHWC, zero padding k // 2, that sows its kernel."""

    features: int
    kernel_size: Sequence[int] = (3, 3)
    strides: int = 1
    use_bias: bool = True
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        self.sow(KERNELS, "kernel", kernel)
        y = convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.strides)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + bias.astype(self.dtype)[None, None, None]
        return y


class GroupNorm(nn.Module):
    """Group normalisation with affine scale, that sows its scale. fp32 inside."""

    num_groups: int
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Array) -> Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        self.sow(SCALES, "scale", scale)
        groups = x.astype(jnp.float32).reshape(*x.shape[:-1], self.num_groups, -1)
        mean = groups.mean(axis=(1, 2, 4), keepdims=True)
        var = groups.var(axis=(1, 2, 4), keepdims=True)
        normed = (groups - mean) * (var + self.epsilon) ** -0.5
        y = normed.reshape(x.shape) * scale[None, None, None] + bias[None, None, None]
        return y.astype(x.dtype)


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

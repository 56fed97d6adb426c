"""Depthwise convolution: one kernel per channel, zero padding k // 2, NHWC.

    y[b, h, w, c] = sum_ij k[i, j, c] x[b, s h + i - kh//2, s w + j - kw//2, c]   (1)

There are two forms of Eq. (1). Accelerators run the grouped convolution. XLA's
CPU backend has no fast path for it: there the sum over taps is written out as
shifted multiply-adds, which is 25 times as fast forward and 7 to 16 times forward
and backward (16 x 16 x 16 x 96 with 5 x 5 taps), and the kernel's gradient is a loop
over taps, which halves the backward pass again and thirds its compile time.
"""

import functools
import operator
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from lsgm.typing import Array, Float


def depthwise(
    x: Float[Array, "b h w c"], kernel: Float[Array, "kh kw 1 c"], strides: int = 1
) -> Array:
    """Eq. (1), in the form that suits the platform that it is lowered for."""
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(shifted, strides=strides),
        default=functools.partial(grouped, strides=strides),
    )


def grouped(x: Array, kernel: Array, strides: int = 1) -> Array:
    """Eq. (1) as a grouped convolution."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        [(k // 2, k // 2) for k in kernel.shape[:2]],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def shifted(x: Array, kernel: Array, strides: int = 1) -> Array:
    """Eq. (1) as shifted multiply-adds."""
    # Inside shard_map a replicated kernel meets data that vary over devices, which
    # a custom rule must not mix. An empty sum of the data is 0 and varies.
    kernel = kernel + jnp.sum(x[:0])
    return _shifted(x, kernel, strides)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _shifted(x: Array, kernel: Array, strides: int) -> Array:
    padded = _pad(x, kernel.shape)
    size = [_out_size(n, strides) for n in x.shape[1:3]]
    terms = (
        _window(padded, i, j, size, strides) * kernel[i, j][None, None]
        for i, j in _taps(kernel)
    )
    return functools.reduce(operator.add, terms)


def _forward(x: Array, kernel: Array, strides: int) -> tuple[Array, tuple]:
    return _shifted(x, kernel, strides), (x, kernel)


def _backward(strides: int, saved: tuple, dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    return _input_gradient(kernel, dy, x.shape, strides), _kernel_gradient(
        x, kernel, dy, strides
    )


_shifted.defvjp(_forward, _backward)


def _input_gradient(kernel: Array, dy: Array, shape: tuple, strides: int) -> Array:
    """Eq. (1) transposed: dy spread to the input's grid, correlated with the
    mirrored kernel."""
    pads = [(0, 0, 0), (0, 0, 0)]
    for n, out, k in zip(shape[1:3], dy.shape[1:3], kernel.shape[:2], strict=True):
        low = k - 1 - k // 2
        high = n + k - 1 - low - ((out - 1) * strides + 1)
        pads.insert(-1, (low, high, strides - 1))
    spread = jax.lax.pad(dy, jnp.zeros((), dy.dtype), pads)
    mirrored = kernel[::-1, ::-1]
    terms = (
        _window(spread, i, j, shape[1:3], 1) * mirrored[i, j][None, None]
        for i, j in _taps(kernel)
    )
    return functools.reduce(operator.add, terms)


def _kernel_gradient(x: Array, kernel: Array, dy: Array, strides: int) -> Array:
    """One tap per turn: XLA's CPU backend turns the unrolled sums into one slow
    reduction."""
    kh, kw = kernel.shape[:2]
    padded = _pad(x, kernel.shape)
    b, oh, ow, c = dy.shape
    size = (b, (oh - 1) * strides + 1, (ow - 1) * strides + 1, c)

    def tap(n: Array) -> Array:
        window = jax.lax.dynamic_slice(padded, (0, n // kw, n % kw, 0), size)
        product = window[:, ::strides, ::strides] * dy
        return jnp.sum(product, axis=(0, 1, 2), dtype=jnp.float32)

    return jax.lax.map(tap, jnp.arange(kh * kw)).reshape(kernel.shape).astype(x.dtype)


def _taps(kernel: Array) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(kernel.shape[0]) for j in range(kernel.shape[1]))


def _pad(x: Array, kernel_shape: tuple) -> Array:
    kh, kw = kernel_shape[:2]
    return jnp.pad(x, ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)))


def _out_size(n: int, strides: int) -> int:
    return -(-n // strides)


def _window(padded: Array, i: int, j: int, size: tuple | list, strides: int) -> Array:
    """[b, *size, c] from row i and column j on, every ``strides``."""
    h, w = size
    stop = (i + (h - 1) * strides + 1, j + (w - 1) * strides + 1)
    return padded[:, i : stop[0] : strides, j : stop[1] : strides]

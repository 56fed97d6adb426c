r"""Halving and doubling the resolution of feature maps [b h w c].

Without filter: the mean of 2 x 2 pixels, and repetition. With the filter
(1, 3, 3, 1) / 8 on each axis, zeros beyond the border:

    down   y[i]      = (x[2i-1] + 3 x[2i] + 3 x[2i+1] + x[2i+2]) / 8         (1)
    up     y[2i]     = (x[i-1] + 3 x[i]) / 4
           y[2i+1]   = (3 x[i] + x[i+1]) / 4                                 (2)

so that up is twice the transpose of down, per axis. The filter is written as shifted
multiply-adds on one axis at a time: they fuse, and XLA's CPU backend has no fast
path for the grouped convolution that would say the same.

Sources: StyleGAN2, arXiv 1912.04958; Song et al., arXiv 2011.13456 (NCSN++); for the
bilinear enlargement NVAE, arXiv 2007.03898.
"""

import jax.numpy as jnp
import numpy as np

from lsgm.typing import Array, Float


def down(
    x: Float[Array, "b h w c"], *, fir: bool
) -> Float[Array, "b {x.shape[1]//2} {x.shape[2]//2} c"]:
    """Half the resolution: Eq. (1) on both axes, or the mean of 2 x 2 pixels."""
    halve = fir_down if fir else mean_down
    return halve(halve(x, 1), 2)


def up(
    x: Float[Array, "b h w c"], *, fir: bool
) -> Float[Array, "b {2*x.shape[1]} {2*x.shape[2]} c"]:
    """Twice the resolution: Eq. (2) on both axes, or repetition."""
    return fir_up(fir_up(x, 1), 2) if fir else nearest_up(x)


def nearest_up(x: Array) -> Array:
    """Repeat every pixel of [b h w c] in a 2x2 block."""
    b, h, w, c = x.shape
    blocks = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c))
    return blocks.reshape(b, 2 * h, 2 * w, c)


def bilinear_up(x: Array) -> Array:
    """Enlarge [b h w c] twofold, linear between corners that stay in place."""
    rows = jnp.asarray(_interpolation(x.shape[1]), x.dtype)
    cols = jnp.asarray(_interpolation(x.shape[2]), x.dtype)
    return jnp.einsum("ph,qw,bhwc->bpqc", rows, cols, x)


def _interpolation(n: int) -> np.ndarray:
    """[2n, n] weights at positions i (n - 1) / (2n - 1)."""
    positions = np.arange(2 * n) * (n - 1) / (2 * n - 1)
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(n)[None]))


def mean_down(x: Array, axis: int) -> Array:
    """Mean of pairs along an axis of even length."""
    even, odd = phases(x, axis)
    return 0.5 * (even + odd)


def fir_down(x: Array, axis: int) -> Array:
    """Eq. (1) along an axis of even length."""
    even, odd = phases(x, axis)
    return 0.375 * (even + odd) + 0.125 * (shift(odd, 1, axis) + shift(even, -1, axis))


def fir_up(x: Array, axis: int) -> Array:
    """Eq. (2) along an axis."""
    even = 0.75 * x + 0.25 * shift(x, 1, axis)
    odd = 0.75 * x + 0.25 * shift(x, -1, axis)
    return interleave(even, odd, axis)


def fir_smooth(x: Array, axis: int) -> Array:
    """The filter at full resolution, y[i] = (x[i-2] + 3 x[i-1] + 3 x[i] + x[i+1]) / 8
    for i = 0 .. n: one more value than ``x`` has."""
    n = x.shape[axis]
    padded = pad(x, 2, 2, axis)
    a, b, c, d = (take(padded, slice(i, i + n + 1), axis) for i in range(4))
    return 0.375 * (b + c) + 0.125 * (a + d)


def phases(x: Array, axis: int) -> tuple[Array, Array]:
    """The even and the odd entries along ``axis``."""
    return take(x, slice(0, None, 2), axis), take(x, slice(1, None, 2), axis)


def interleave(even: Array, odd: Array, axis: int) -> Array:
    """Inverse of ``phases``."""
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis=axis + 1).reshape(shape)


def shift(x: Array, by: int, axis: int) -> Array:
    """y[i] = x[i - by] along ``axis``, zero where that lies outside; by = 1 or -1."""
    start = max(-by, 0)
    padded = pad(x, max(by, 0), start, axis)
    return take(padded, slice(start, start + x.shape[axis]), axis)


def pad(x: Array, before: int, after: int, axis: int) -> Array:
    """``x`` between so many zeros along one axis."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (before, after)
    return jnp.pad(x, widths)


def take(x: Array, entries: slice, axis: int) -> Array:
    """``x`` at ``entries`` of one axis."""
    index = [slice(None)] * x.ndim
    index[axis] = entries
    return x[tuple(index)]


def fold(x: Float[Array, "b h w c"], factor: int) -> Float[Array, "b _ _ _"]:
    """Blocks of factor x factor neighbours to channels: [b h/f w/f f*f*c].

    A factor of 1 leaves x as it is.
    """
    b, h, w, c = x.shape
    blocks = x.reshape(b, h // factor, factor, w // factor, factor, c)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // factor, w // factor, -1)


def unfold(x: Float[Array, "b h w c"], factor: int) -> Float[Array, "b _ _ _"]:
    """The inverse of ``fold``."""
    b, h, w, _ = x.shape
    blocks = x.reshape(b, h, w, factor, factor, -1)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * factor, w * factor, -1)

"""Inner products of all pairs of two sets of features, a block of pairs at a time.

The products are taken in single precision on the first device, which does them at the
rate of its matrix products; what is summed over them is summed by the caller, in
double. Memory holds a few blocks, whatever the sizes of the sets.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.statistics.frechet import Features, OtherFeatures
from lsgm.typing import Float

BLOCK = 2048


class Products(NamedTuple):
    """``products`` [i j] of ``x[rows]`` with ``y[columns]``, the caller's own."""

    rows: slice
    columns: slice
    products: Float[np.ndarray, "i j"]


def between(x: Features, y: OtherFeatures) -> Iterator[Products]:
    """All blocks of two sets."""
    starts = itertools.product(range(0, len(x), BLOCK), range(0, len(y), BLOCK))
    return _blocks(x, y, starts)


def within(x: Features) -> Iterator[Products]:
    """The blocks of one set on and above the diagonal: the others are these,
    transposed. On the diagonal, rows are columns."""
    starts = range(0, len(x), BLOCK)
    return _blocks(x, x, itertools.combinations_with_replacement(starts, 2))


def _blocks(
    x: Features, y: OtherFeatures, starts: Iterator[tuple[int, int]]
) -> Iterator[Products]:
    """One block ahead: a device computes while the caller sums."""
    waiting = None
    for i, j in starts:
        rows, columns = slice(i, i + BLOCK), slice(j, j + BLOCK)
        following = rows, columns, _products(_single(x[rows]), _single(y[columns]))
        if waiting is not None:
            yield _fetched(*waiting)
        waiting = following
    if waiting is not None:
        yield _fetched(*waiting)


def _fetched(rows: slice, columns: slice, products: jax.Array) -> Products:
    return Products(rows, columns, np.array(products))


def _single(x: Features) -> np.ndarray:
    return np.asarray(x, np.float32)


@jax.jit
def _products(x: jax.Array, y: jax.Array) -> jax.Array:
    # Devices that have a faster, coarser product would take it.
    return jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)

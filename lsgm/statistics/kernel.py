r"""The kernel distance of two sets of features, with a standard error.

The squared maximum mean discrepancy under k(x, y) = (x.y / d + 1)^3 (KID where the
features are Inception's), over all pairs of x_1..x_m and y_1..y_n:

    MMD^2 = A / (m (m - 1)) + B / (n (n - 1)) - 2 C / (m n),               (1)
    A = sum_i a_i,  a_i = sum_{i' != i} k(x_i, x_i'),  B, b_j likewise in y,
    C = sum_i c_i,  c_i = sum_j k(x_i, y_j),  e_j = sum_i k(x_i, y_j).

It has no bias for any m and n, so it may come out below zero. It depends on each
example through a witness; leaving one out at a time (the jackknife) gives

    u_i = a_i / (m - 2) - c_i / n,    v_j = b_j / (n - 2) - e_j / m,       (2)
    se^2 = 4 Var(u) / m + 4 Var(v) / n,                                    (3)

with sample variances: deleting x_i moves Eq. (1) by -2 (u_i - mean u) / (m - 1).
Both sets count as random. By Efron and Stein's inequality Eq. (3) is too large on
average, never too small: little where the distributions differ, by a factor of two
where they are the same and Eq. (1) is degenerate. 1.96 se to both sides then cover
at least 95 %, measured in the tests.

Inner products and kernels are in single precision, sums in double: the sums' errors are
a few 1e-8 of their size, so those of Eq. (1) a few 1e-8 of the mean kernel.

Sources: Binkowski et al., arXiv 1801.01401 (1); Arvesen 1969, Annals of Mathematical
Statistics 40, for the jackknife of U-statistics in two samples (3).
"""

import numpy as np

from lsgm.statistics import products
from lsgm.statistics.estimate import Estimate
from lsgm.statistics.frechet import Features, OtherFeatures
from lsgm.typing import Float

Sums = Float[np.ndarray, " n"]


def kernel_distance(x: Features, y: OtherFeatures) -> Estimate:
    """Eq. (1) with the standard error of Eq. (3).

    Raises:
      ValueError: a set of fewer than three examples.
    """
    m, n = len(x), len(y)
    if min(m, n) < 3:
        raise ValueError(f"sets of {m} and {n} examples: a kernel distance needs 3")
    a, b = _within(x), _within(y)
    c, e = _between(x, y)
    value = a.sum() / (m * (m - 1)) + b.sum() / (n * (n - 1)) - 2 * c.sum() / (m * n)
    u, v = a / (m - 2) - c / n, b / (n - 2) - e / m
    variance = 4 * u.var(ddof=1) / m + 4 * v.var(ddof=1) / n
    error = float(np.sqrt(variance))
    return Estimate(value=float(value), standard_error=error, better="lower")


def _within(x: Features) -> Sums:
    """a_i of Eq. (1)."""
    sums = np.zeros(len(x))
    for block in products.within(x):
        kernel = _kernel(block, x.shape[1])
        if block.rows == block.columns:
            np.fill_diagonal(kernel, 0)
        else:
            sums[block.columns] += kernel.sum(0, dtype=np.float64)
        sums[block.rows] += kernel.sum(1, dtype=np.float64)
    return sums


def _between(x: Features, y: OtherFeatures) -> tuple[Sums, Float[np.ndarray, " m"]]:
    """c_i and e_j of Eq. (1)."""
    c, e = np.zeros(len(x)), np.zeros(len(y))
    for block in products.between(x, y):
        kernel = _kernel(block, x.shape[1])
        c[block.rows] += kernel.sum(1, dtype=np.float64)
        e[block.columns] += kernel.sum(0, dtype=np.float64)
    return c, e


def _kernel(block: products.Products, dim: int) -> Float[np.ndarray, "i j"]:
    """k of a block, in the place of its products."""
    kernel = block.products
    kernel /= dim
    kernel += 1
    kernel *= kernel * kernel
    return kernel

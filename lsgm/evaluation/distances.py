r"""Distances between two sets of images, in the space of some features.

With means m and covariances C of the features of two sets, the squared Frechet
distance between the Gaussians that have them is

    FD = |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2),                 (1)
    tr (C1 C2)^(1/2) = sum of singular values of C1^(1/2) C2^(1/2),        (2)

where Eq. (2) needs square roots of symmetric matrices only, exists for singular
ones, and never leaves the real numbers. FD is biased upwards for finite sets, so
its name carries their size, and FD between real images stands beside it.

The kernel distance (KID where the features are Inception's) is the squared maximum
mean discrepancy under k(x, y) = (x.y / d + 1)^3, without bias for any size:

    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j)
            - 2 mean_{i, j} k(x_i, y_j),                                   (3)

averaged over random subsets. It may come out below zero.

Sources: Heusel et al., arXiv 1706.08500 (1); Binkowski et al., arXiv 1801.01401
(3); Chan, Golub, LeVeque 1979 for pooling moments.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Features = Float[np.ndarray, "n d"]
OtherFeatures = Float[np.ndarray, "m d"]
Batch = Float[np.ndarray, "_ d"]


class Moments(NamedTuple):
    """Count, mean [d] and scatter [d d] (the sum of outer products of deviations
    from the mean) of features, float64."""

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @property
    def covariance(self) -> Float[np.ndarray, "d d"]:
        """Unbiased, scatter / (count - 1)."""
        return self.scatter / (self.count - 1)

    def pooled(self, other: "Moments") -> "Moments":
        """Moments of both sets together."""
        count = self.count + other.count
        gap = other.mean - self.mean
        outer = np.outer(gap, gap) * (self.count * other.count / count)
        return Moments(
            count,
            self.mean + gap * (other.count / count),
            self.scatter + other.scatter + outer,
        )


def moments(batches: Iterable[Batch]) -> Moments:
    """Pooled moments of features that arrive in batches.

    Raises:
      ValueError: fewer than two examples, or a value that is not finite.
    """
    total: Moments | None = None
    for batch in batches:
        if not np.isfinite(batch).all():
            raise ValueError("features are not all finite")
        if len(batch):
            one = _moments(batch.astype(np.float64))
            total = one if total is None else total.pooled(one)
    if total is None or total.count < 2:
        raise ValueError("moments need at least two examples")
    return total


def _moments(features: Features) -> Moments:
    mean = features.mean(axis=0)
    deviations = features - mean[None]
    return Moments(len(features), mean, deviations.T @ deviations)


def frechet(a: Moments, b: Moments) -> float:
    """Squared Frechet distance, Eqs. (1) and (2)."""
    c1, c2 = a.covariance, b.covariance
    roots = symmetric_root(c1) @ symmetric_root(c2)
    overlap = np.linalg.svd(roots, compute_uv=False).sum()
    gap = a.mean - b.mean
    return float(gap @ gap + np.trace(c1) + np.trace(c2) - 2 * overlap)


def symmetric_root(
    matrix: Float[np.ndarray, "d d"],
) -> Float[np.ndarray, "d d"]:
    """Square root of a covariance; eigenvalues that rounding made negative are 0."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))[None]) @ vectors.T


def frechet_name(num: int, extractor: str) -> str:
    """Honest name of a Frechet distance, such as "FD_500 (digit CNN)".

    Args:
      num: generated samples that it was measured on.
      extractor: the extractor's name.
    """
    return f"FD_{num} ({extractor})"


def kernel_name(num: int, extractor: str) -> str:
    """Honest name of a kernel distance, such as "KD_500 (digit CNN)"."""
    return f"KD_{num} ({extractor})"


def frechet_of_splits(
    features: Features, sizes: tuple[int, int], *, num_splits: int = 5, seed: int = 0
) -> Float[np.ndarray, " s"]:
    """Frechet distances between disjoint random parts of one set of real images:
    what a perfect generator would get.

    Args:
      sizes: examples in either part, as many as in the comparison that this is
        the yardstick of, because the distance depends on them.

    Returns:
      One distance per split.

    Raises:
      ValueError: the parts do not fit into the set.
    """
    first, second = sizes
    if min(sizes) < 2 or first + second > len(features):
        raise ValueError(f"sizes = {sizes}: two parts of {len(features)} examples")
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(features)) for _ in range(num_splits)]
    return np.array(
        [
            frechet(
                moments([features[order[:first]]]),
                moments([features[order[first : first + second]]]),
            )
            for order in orders
        ]
    )


class KernelDistance(NamedTuple):
    """Mean and standard deviation of Eq. (3) over subsets."""

    mean: float
    std: float
    num_subsets: int
    subset_size: int


def kernel_distance(
    x: Features,
    y: OtherFeatures,
    *,
    num_subsets: int = 100,
    subset_size: int = 100,
    seed: int = 0,
) -> KernelDistance:
    """Eq. (3) over random subsets, drawn without replacement within a subset.

    Args:
      subset_size: examples of either set in a subset; well below the size of the
        sets, or the subsets are hardly different ones.

    Raises:
      ValueError: a set has fewer than ``subset_size`` examples.
    """
    smaller = min(len(x), len(y))
    if not 2 <= subset_size <= smaller:
        raise ValueError(f"subset_size = {subset_size}: must be 2 to {smaller}")
    rng = np.random.default_rng(seed)
    values = np.array(
        [
            mmd2(
                x[rng.choice(len(x), subset_size, replace=False)],
                y[rng.choice(len(y), subset_size, replace=False)],
            )
            for _ in range(num_subsets)
        ]
    )
    return KernelDistance(
        float(values.mean()), float(values.std(ddof=1)), num_subsets, subset_size
    )


def mmd2(x: Features, y: OtherFeatures) -> float:
    """Unbiased squared maximum mean discrepancy, Eq. (3), of two or more each."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    return float(
        _mean_off_diagonal(_kernel(x, x))
        + _mean_off_diagonal(_kernel(y, y))
        - 2 * _kernel(x, y).mean()
    )


def _kernel(x: Features, y: OtherFeatures) -> Float[np.ndarray, "n m"]:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_off_diagonal(kernel: Float[np.ndarray, "n n"]) -> float:
    n = len(kernel)
    return (kernel.sum() - np.trace(kernel)) / (n * (n - 1))

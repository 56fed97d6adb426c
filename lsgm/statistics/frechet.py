r"""The Frechet distance of two sets of features, with a standard error.

With means m and covariances C of the features of two sets, the squared Frechet
distance between the Gaussians that have them is

    FD = |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2),                 (1)
    tr (C1 C2)^(1/2) = sum of square roots of eigenvalues of R C2 R,       (2)

with R the symmetric root of C1. Eq. (2) exists for singular covariances, and never
leaves the real numbers. FD is biased upwards for finite sets, so its name carries
their size, and FD of held-out real images stands beside it.

Its standard error deletes a group of s of a set's N examples at a time (the
jackknife): with G groups, and FD_g what is left without group g,

    se^2 = sum over both sets of (N - s) / (s G) sum_g (FD_g - mean FD_g)^2.  (3)

1.96 se to both sides cover the mean of Eq. (1) over sets of these sizes, bias
included, and not its limit for infinite sets. Like every jackknife, Eq. (3) is too
large on average where the distributions hardly differ.

Sources: Heusel et al., arXiv 1706.08500 (1); Chan, Golub, LeVeque 1979 for pooling
moments; Efron and Stein 1981 for the jackknife.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lsgm.statistics.estimate import Estimate
from lsgm.typing import Float

Features = Float[np.ndarray, "n d"]
OtherFeatures = Float[np.ndarray, "m d"]
Batch = Float[np.ndarray, "_ d"]
Square = Float[np.ndarray, "d d"]

NUM_GROUPS = 10


class Moments(NamedTuple):
    """Count, mean [d] and scatter [d d] (the sum of outer products of deviations
    from the mean) of features, float64."""

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @property
    def covariance(self) -> Square:
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

    def without(self, part: "Moments") -> "Moments":
        """Moments of what is left of a set without a part of it."""
        count = self.count - part.count
        mean = self.mean + (self.mean - part.mean) * (part.count / count)
        gap = part.mean - mean
        outer = np.outer(gap, gap) * (count * part.count / self.count)
        return Moments(count, mean, self.scatter - part.scatter - outer)


def moments(batches: Iterable[Batch]) -> Moments:
    """Pooled moments of features that arrive in batches.

    Raises:
      ValueError: fewer than two examples, or a value that is not finite.
    """
    total: Moments | None = None
    for batch in batches:
        if len(batch):
            part = _moments(batch)
            total = part if total is None else total.pooled(part)
    if total is None or total.count < 2:
        raise ValueError("moments need at least two examples")
    return total


def _moments(features: Features) -> Moments:
    if not np.isfinite(features).all():
        raise ValueError("features are not all finite")
    features = features.astype(np.float64)
    mean = features.mean(axis=0)
    deviations = features - mean[None]
    return Moments(len(features), mean, deviations.T @ deviations)


def frechet(a: Moments, b: Moments) -> float:
    """Squared Frechet distance, Eqs. (1) and (2)."""
    return _frechet(a, symmetric_root(a.covariance), b)


class Sampled(NamedTuple):
    """Moments of a set, and features [n d] of all its examples or of some, drawn at
    random, by which its spread is judged."""

    moments: Moments
    features: np.ndarray


def frechet_estimate(a: Sampled, b: Sampled) -> Estimate:
    """Eq. (1) with Eq. (3); one eigendecomposition of [d d] for each group.

    Raises:
      ValueError: fewer than ``NUM_GROUPS`` features of a set.
    """
    variance = _variance(a, b.moments) + _variance(b, a.moments)
    return Estimate(
        value=frechet(a.moments, b.moments),
        standard_error=float(np.sqrt(variance)),
        better="lower",
    )


def _variance(a: Sampled, b: Moments) -> float:
    """What one set adds to Eq. (3)."""
    features = a.features
    size = len(features) // NUM_GROUPS
    if not size:
        raise ValueError(f"{len(features)} features: at least {NUM_GROUPS} are needed")
    # Neighbours in a file may be alike.
    order = np.random.default_rng(0).permutation(len(features))
    parts = order[: size * NUM_GROUPS].reshape(NUM_GROUPS, size)
    root = symmetric_root(b.covariance)
    values = [
        _frechet(b, root, a.moments.without(_moments(features[part]))) for part in parts
    ]
    return (a.moments.count - size) / size * float(np.var(values))


def _frechet(a: Moments, root: Square, b: Moments) -> float:
    """Eq. (1), with the root of a's covariance."""
    squares = np.linalg.eigvalsh(root @ b.covariance @ root)
    overlap = np.sqrt(squares.clip(min=0)).sum()
    gap = a.mean - b.mean
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return float(gap @ gap + traces - 2 * overlap)


def symmetric_root(matrix: Square) -> Square:
    """Square root of a covariance; eigenvalues that rounding made negative are 0."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))[None]) @ vectors.T

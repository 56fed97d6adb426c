r"""Precision, recall, density and coverage: do samples lie where real images lie, and
everywhere there?

The manifold of a set of features is the union of balls around each of its points,
with the distance to the point's k-th nearest neighbour in the set as radius r_k. With
real features x_1..x_n and generated y_1..y_m,

    precision = mean_j [y_j lies in some ball of x],  k = 3                (1)
    recall    = mean_i [x_i lies in some ball of y],  k = 3                (2)
    density   = mean_j #{i : y_j in the ball of x_i} / k,  k = 5           (3)
    coverage  = mean_i [some y_j lies in the ball of x_i],  k = 5.         (4)

Each is a mean over examples, and its standard error is that mean's, with the manifold
given. All depend on m and n; for two sets of one distribution, equally large, density
is 1 in the mean and coverage 1 - 2^-k nearly. An outlier's large ball raises
precision; density and coverage were made against that.

Sources: Kynkaanniemi et al., arXiv 1904.06991 (1, 2); Naeem et al., arXiv 2002.09797
(3, 4).
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from lsgm.statistics.estimate import Estimate, estimate_mean
from lsgm.statistics.frechet import Features, OtherFeatures
from lsgm.typing import Float

BLOCK = 2048


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifolds:
    """Which neighbour's distance is a ball's radius.

    Attributes:
      precision_neighbour: of precision and recall.
      density_neighbour: of density and coverage.
    """

    precision_neighbour: int = 3
    density_neighbour: int = 5

    def __post_init__(self) -> None:
        for name in ("precision_neighbour", "density_neighbour"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least 1")

    def __call__(self, fake: Features, real: OtherFeatures) -> dict[str, Estimate]:
        """Eqs. (1) to (4), by name.

        Raises:
          ValueError: a set without so many neighbours.
        """
        # Distances are small beside the features' common mean.
        centre = real.mean(axis=0, dtype=np.float64)[None]
        x, y = real.astype(np.float64) - centre, fake.astype(np.float64) - centre
        k, dense = self.precision_neighbour, self.density_neighbour
        radii = nearest_in_set(x, max(k, dense))
        in_real, _ = counts_in_balls(x, radii[:, k - 1], y)
        in_fake, _ = counts_in_balls(y, nearest_in_set(y, k)[:, k - 1], x)
        balls, members = counts_in_balls(x, radii[:, dense - 1], y)
        return {
            name: estimate_mean(values, better="higher")
            for name, values in (
                ("precision", in_real > 0),
                ("recall", in_fake > 0),
                ("density", balls / dense),
                ("coverage", members > 0),
            )
        }


def nearest_in_set(x: Features, k: int) -> Float[np.ndarray, "n k"]:
    """Squared distances of each point to its k nearest others, nearest first.

    Raises:
      ValueError: there are no k others.
    """
    if len(x) <= k:
        raise ValueError(f"{len(x)} examples: neighbour {k} needs {k + 1}")
    found = np.empty((len(x), k))
    for rows, squares in _blocks(x, x):
        own = np.arange(len(squares))
        squares[own, rows.start + own] = np.inf
        found[rows] = np.sort(np.partition(squares, k - 1, axis=1)[:, :k], axis=1)
    return found


def counts_in_balls(
    x: Features, radii: Float[np.ndarray, " n"], y: OtherFeatures
) -> tuple[np.ndarray, np.ndarray]:
    """How many balls each y_j [m] lies in, and how many y each ball [n] holds.

    Args:
      radii: squared, of the balls around x.
    """
    balls, members = np.zeros(len(y), int), np.zeros(len(x), int)
    for rows, squares in _blocks(x, y):
        inside = squares <= radii[rows, None]
        balls += inside.sum(0)
        members[rows] = inside.sum(1)
    return balls, members


def _blocks(
    x: Features, y: OtherFeatures
) -> Iterator[tuple[slice, Float[np.ndarray, "_ m"]]]:
    """Squared distances of some x to all y, block by block."""
    of_y = np.einsum("md,md->m", y, y)
    for start in range(0, len(x), BLOCK):
        part = x[start : start + BLOCK]
        squares = part @ y.T
        squares *= -2
        squares += np.einsum("nd,nd->n", part, part)[:, None]
        squares += of_y[None]
        yield slice(start, start + len(part)), squares.clip(min=0, out=squares)

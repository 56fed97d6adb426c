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

from lsgm.statistics import products
from lsgm.statistics.estimate import Estimate, estimate_mean
from lsgm.statistics.frechet import Features, OtherFeatures
from lsgm.typing import Float


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
        x, y = ((z - centre).astype(np.float32) for z in (real, fake))
        k, dense = self.precision_neighbour, self.density_neighbour
        of_x, of_y = nearest_in_set(x, max(k, dense)), nearest_in_set(y, k)
        in_real, balls = np.zeros(len(y), bool), np.zeros(len(y), int)
        in_fake, held = np.zeros(len(x), bool), np.zeros(len(x), bool)
        for block, squares in _between(x, y):
            rows, columns = block.rows, block.columns
            in_real[columns] |= (squares <= of_x[rows, k - 1, None]).any(0)
            in_fake[rows] |= (squares <= of_y[None, columns, k - 1]).any(1)
            inside = squares <= of_x[rows, dense - 1, None]
            balls[columns] += inside.sum(0)
            held[rows] |= inside.any(1)
        return {
            name: estimate_mean(values, better="higher")
            for name, values in (
                ("precision", in_real),
                ("recall", in_fake),
                ("density", balls / dense),
                ("coverage", held),
            )
        }


def nearest_in_set(x: Features, k: int) -> Float[np.ndarray, "n k"]:
    """Squared distances of each point to its k nearest others, nearest first.

    Raises:
      ValueError: there are no k others.
    """
    if len(x) <= k:
        raise ValueError(f"{len(x)} examples: neighbour {k} needs {k + 1}")
    found = np.full((len(x), k), np.inf, np.float32)
    norms = _norms(x)
    for block in products.within(x):
        squares = _squares(block, norms, norms)
        if block.rows == block.columns:
            np.fill_diagonal(squares, np.inf)
        else:
            found[block.columns] = _least(found[block.columns], squares.T)
        found[block.rows] = _least(found[block.rows], squares)
    return np.sort(found, axis=1)


def _least(
    found: Float[np.ndarray, "n k"], more: Float[np.ndarray, "n _"]
) -> Float[np.ndarray, "n k"]:
    """The k least of each row of both, in any order."""
    k = found.shape[1]
    if more.shape[1] > k:
        more = np.partition(more, k - 1, axis=1)[:, :k]
    both = np.concatenate([found, more], axis=1)
    return np.partition(both, k - 1, axis=1)[:, :k]


def _between(
    x: Features, y: OtherFeatures
) -> Iterator[tuple[products.Products, Float[np.ndarray, "i j"]]]:
    """Blocks of pairs with their squared distances."""
    of_x, of_y = _norms(x), _norms(y)
    for block in products.between(x, y):
        yield block, _squares(block, of_x, of_y)


def _norms(x: Features) -> Float[np.ndarray, " n"]:
    return np.einsum("nd,nd->n", x, x)


def _squares(
    block: products.Products,
    of_x: Float[np.ndarray, " n"],
    of_y: Float[np.ndarray, " m"],
) -> Float[np.ndarray, "i j"]:
    """|x|^2 + |y|^2 - 2 x.y, in the place of the products."""
    squares = block.products
    squares *= -2
    squares += of_x[block.rows, None]
    squares += of_y[None, block.columns]
    return squares.clip(min=0, out=squares)

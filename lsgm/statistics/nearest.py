r"""Nearest neighbours among examples that stream by, exactly.

    |q - x|^2 = |q|^2 - 2 q.x + |x|^2,                                     (1)

of every query q and every x of a batch; the k least so far are kept. Queries and
examples are centred at the queries' mean first, so that Eq. (1) cancels little.
"""

from typing import NamedTuple

import numpy as np

from lsgm.statistics.frechet import Batch, Features
from lsgm.typing import Float, Int


class Neighbours(NamedTuple):
    """Distances [q k], nearest first, and positions in the stream [q k]."""

    distances: Float[np.ndarray, "q k"]
    indices: Int[np.ndarray, "q k"]


class Nearest:
    """The k nearest to each query so far."""

    def __init__(self, queries: Features, k: int):
        """Nothing seen yet.

        Args:
          queries: [q d].
        """
        self._centre = queries.mean(axis=0, dtype=np.float64)[None]
        self._queries = queries.astype(np.float64) - self._centre
        self._norms = np.einsum("qd,qd->q", self._queries, self._queries)
        self._squares = np.full((len(queries), k), np.inf)
        self._indices = np.full((len(queries), k), -1)
        self._seen = 0

    def see(self, batch: Batch) -> None:
        """Take the next examples [n d] of the stream into account."""
        x = batch.astype(np.float64) - self._centre
        squares = -2 * self._queries @ x.T
        squares += self._norms[:, None] + np.einsum("nd,nd->n", x, x)[None]
        positions = np.broadcast_to(self._seen + np.arange(len(x)), squares.shape)
        squares = np.concatenate([self._squares, squares], axis=1)
        positions = np.concatenate([self._indices, positions], axis=1)
        # Stable: of examples equally near the first one stays.
        order = np.argsort(squares, axis=1, kind="stable")[:, : self._indices.shape[1]]
        self._squares = np.take_along_axis(squares, order, axis=1)
        self._indices = np.take_along_axis(positions, order, axis=1)
        self._seen += len(x)

    def found(self) -> Neighbours:
        """What is nearest among all that was seen.

        Raises:
          ValueError: fewer than k examples were.
        """
        if self._seen < self._indices.shape[1]:
            raise ValueError(f"{self._seen} examples: fewer than neighbours asked for")
        return Neighbours(np.sqrt(self._squares.clip(min=0)), self._indices)

"""Contract of what integrates the probability flow for likelihoods."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from lsgm.sdes.base import SDE
from lsgm.typing import Array, PyTree, ResidualFn, State, Time

# (y, t [b], args) -> dy/ds, of trees of arrays [b ...].
Slope: TypeAlias = Callable[[PyTree, Time, PyTree], PyTree]


class Solution(NamedTuple):
    """A solved ODE.

    Attributes:
      y: the state at the end, [b ...] in each leaf; NaN where ``max_steps`` did not
        reach it.
      nfe: calls of the slope, int32 scalar.
      path: states along the way, [num_path b ...] in each leaf, or None.
    """

    y: PyTree
    nfe: Array
    path: PyTree | None


class FlowSolver(abc.ABC):
    """The probability flow from ``t_end`` to noise, in a coordinate s of its own."""

    t_end: float

    @abc.abstractmethod
    def field(
        self, sde: SDE, residual_fn: ResidualFn
    ) -> Callable[[State, Time], State]:
        """(u, t) -> du/ds, one network call.

        Raises:
          ValueError: it is not valid for ``sde``.
        """

    @abc.abstractmethod
    def integrate(self, sde: SDE, slope: Slope, y0: PyTree, args: PyTree) -> Solution:
        """Integrate dy/ds = slope(y, t, args) from ``t_end`` to t = 1.

        Args:
          y0, args: trees of arrays [b ...].
        """

    @abc.abstractmethod
    def loosened(self, factor: float) -> "FlowSolver":
        """Itself, less exact: what a second solve shows how much exactness matters."""

    @property
    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides how exact it is, by name, as records hold it."""

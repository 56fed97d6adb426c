r"""Samplers on a fixed grid: a table made on the host, one loop on the device.

A method is a table with one row per network call, computed in float64 from the
configuration alone, and a rule for what a call changes. With r the residual at
(u, t), f_0 the prediction made from it, f_1, f_2, ... those of the calls before,
and n fresh noise, nearly every method is

    f_0 = anchor u + scale r,                                              (1)
    u <- keep u + sum_j weights_j f_j + noise n.                           (2)

The columns of the table carry these names. Eq. (1) is the noise, the data or the
residual itself (``lsgm.samplers.grids``, Eqs. 6 and 7).

A Normal start begins at ``t_start`` < 1 with the noise that belongs to t = 1, scaled
to the variance that Normal data have there: near t = 1 the network has nothing to
add, and every method spends its calls where it has.
"""

import abc
import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.numerics import on_host
from lsgm.samplers.base import Sampler, Samples
from lsgm.samplers.grids import Grid, UniformGrid
from lsgm.sdes.base import SDE
from lsgm.sdes.scalar import ScalarSDE
from lsgm.typing import Array, PRNGKey, ResidualFn, State

Table = dict[str, np.ndarray]
Row = dict[str, Array]
Memory = tuple[Array, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FixedGrid(Sampler):
    """Eqs. (1) and (2) with a method's table.

    Attributes:
      num_steps: intervals of the grid.
      grid: how they are placed.
      t_start: where the reverse process starts; below 1, a Normal start.
      needs: the processes that the method is derived for.
      order: of convergence in the step size; of a stochastic method, weakly.
    """

    needs: ClassVar[type[SDE]] = ScalarSDE

    num_steps: int = 20
    grid: Grid = UniformGrid()
    t_start: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, not {self.num_steps}")
        if not self.t_end < self.t_start <= 1:
            raise ValueError(
                f"t_start must lie in (t_end = {self.t_end}, 1], not {self.t_start}"
            )

    @abc.abstractmethod
    def table(self, sde: ScalarSDE) -> Table:
        """One row per network call, [calls ...]: ``t`` where the network is called,
        ``keep``, ``anchor``, ``scale``, ``weights`` [calls, order], and where they
        apply ``noise`` and ``step``, the step that the call belongs to, from 1."""

    def memory_size(self, table: Table) -> int:
        """How many arrays of the state's shape are kept between calls."""
        return table["weights"].shape[1] - 1

    def advance(
        self, row: Row, u: State, residual: State, memory: Memory
    ) -> tuple[State, Memory]:
        """Eqs. (1) and (2) without the noise."""
        predictions = (row["anchor"] * u + row["scale"] * residual, *memory)
        u = row["keep"] * u
        for weight, prediction in zip(row["weights"], predictions, strict=True):
            u = u + weight * prediction
        return u, predictions[: len(memory)]

    def check(self, sde: SDE) -> None:
        if not isinstance(sde, self.needs):
            name = type(self).__name__
            raise ValueError(
                f"{name} needs a {self.needs.__name__}, not {sde}: ProbabilityFlow "
                "takes any process"
            )

    def __call__(
        self,
        key: PRNGKey,
        sde: SDE,
        residual_fn: ResidualFn,
        u1: State,
        *,
        num_path: int = 0,
    ) -> Samples:
        self.check(sde)
        assert isinstance(sde, ScalarSDE)
        table = self.table(sde)
        rows = {name: jnp.asarray(column, u1.dtype) for name, column in table.items()}
        if "noise" in table:
            rows["key"] = jax.random.split(key, len(table["t"]))
        start = _start(sde, self.t_start) * u1
        step = table.get("step", np.arange(1, len(table["t"]) + 1))
        path, rows["slot"], places = keep_path(step, start, num_path)

        def call(carry: tuple, row: Row) -> tuple[tuple, None]:
            u, memory, path, nfe = carry
            residual = residual_fn(u, jnp.full(u.shape[:1], row["t"]))
            nfe = nfe + 1
            u, memory = self.advance(row, u, residual, memory)
            if "noise" in row:
                n = jax.random.normal(row["key"], u.shape, u.dtype)
                u = u + row["noise"] * n
            if path is not None:
                path = jax.lax.dynamic_update_index_in_dim(path, u, row["slot"], 0)
            return (u, memory, path, nfe), None

        memory = (jnp.zeros_like(u1),) * self.memory_size(table)
        (u, _, path, nfe), _ = jax.lax.scan(
            call, (start, memory, path, jnp.int32(0)), rows
        )
        kept = None if path is None else path[places]
        return self.finish(sde, residual_fn, Samples(u, nfe, kept))


def _start(sde: ScalarSDE, t_start: float) -> float:
    """Standard deviation of Normal data's u at ``t_start`` over that at t = 1."""
    there, last = on_host(sde.normal_var, [t_start, 1.0])
    return float(np.sqrt(there / last))


def keep_path(
    step: np.ndarray, start: State, num_path: int
) -> tuple[Array | None, Array, np.ndarray]:
    """Room for the states to keep; where each row writes; where each is found.

    Every row writes to the slot of the next step that is kept, so that the last
    one to write there is the one that completes it.

    Args:
      step: that each row belongs to, from 1.
    """
    kept, places = np.unique(
        np.round(np.linspace(step[-1], 0, num_path)).astype(int)[::-1],
        return_inverse=True,
    )
    slot = jnp.asarray(np.searchsorted(kept, step), jnp.int32)
    if not num_path:
        return None, slot, places
    return jnp.broadcast_to(start[None], (len(kept), *start.shape)), slot, places

r"""Stochastic samplers of Langevin diffusions: steps of a position and a velocity.

A method is a table with one row per step, made on the host in float64, and a rule for
what a step does to the state. ``num_steps`` network calls, or ``num_steps`` times the
calls of a step; by default positions then drift to t = 0 without a call
(``lsgm.samplers.base``, Eq. 1).

Publications on CLD count a last evaluation, which moves velocities alone:
``reference_compatible`` makes and counts that call, and takes one step fewer. So n
published evaluations and n - 1 calls by default give the same samples.

Source: CLD, arXiv 2112.07068, sections 3.3 and appendix on sampling.
"""

import abc
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.samplers.base import Sampler, Samples, reverse_drift
from lsgm.samplers.fixed_grid import Row, Table, keep_path
from lsgm.samplers.grids import Grid, QuadraticFromEnd
from lsgm.sdes.base import SDE
from lsgm.sdes.langevin import Langevin
from lsgm.typing import Array, Float, PRNGKey, ResidualFn, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class LangevinSampler(Sampler):
    """Steps on a fixed grid for augmented processes.

    Attributes:
      num_steps: intervals of the grid.
      grid: how they are placed; quadratic steps are needed at few calls.
      reference_compatible: the published conventions: ``num_steps`` counts the last
        evaluation where there is one; of SSCS also the lengths of its flows.
    """

    num_steps: int = 150
    t_end: float = 1e-3
    grid: Grid = QuadraticFromEnd()
    denoise: str = "drift"
    reference_compatible: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        least = 2 if self.counts_last else 1
        if self.num_steps < least:
            raise ValueError(
                f"num_steps must be at least {least}, not {self.num_steps}"
            )

    @property
    def counts_last(self) -> bool:
        """Whether ``num_steps`` counts a last evaluation."""
        return self.reference_compatible and self.denoise == "drift"

    @property
    def calls(self) -> int:
        """Network calls of one step."""
        return 1

    @property
    def draws(self) -> int:
        """Normal draws of one step, each of the state's shape."""
        return 1

    @abc.abstractmethod
    def table(self, sde: Langevin) -> Table:
        """One row per step, [steps ...], with ``t`` and ``length``, of the step."""

    @abc.abstractmethod
    def advance(
        self,
        row: Row,
        sde: Langevin,
        residual_fn: ResidualFn,
        u: State,
        noise: Float[Array, "k b *s"],
    ) -> State:
        """One step, ``calls`` network calls.

        Args:
          noise: standard normal, ``draws`` of them.
        """

    def times(self, sde: Langevin) -> np.ndarray:
        """Ends of the steps."""
        num_steps = self.num_steps - self.counts_last
        return self.grid(sde, 1.0, self.t_end, num_steps)

    def check(self, sde: SDE) -> None:
        if not isinstance(sde, Langevin):
            name = type(self).__name__
            raise ValueError(
                f"{name} needs a Langevin process, not {sde}: EulerMaruyama and "
                "ProbabilityFlow take scalar processes"
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
        assert isinstance(sde, Langevin)
        table = self.table(sde)
        num = len(table["t"])
        rows = {name: jnp.asarray(column, u1.dtype) for name, column in table.items()}
        rows["key"] = jax.random.split(key, num)
        path, rows["slot"], places = keep_path(np.arange(1, num + 1), u1, num_path)

        def step(carry: tuple, row: Row) -> tuple[tuple, None]:
            u, path, nfe = carry
            noise = jax.random.normal(row["key"], (self.draws, *u.shape), u.dtype)
            u = self.advance(row, sde, residual_fn, u, noise)
            if path is not None:
                path = jax.lax.dynamic_update_index_in_dim(path, u, row["slot"], 0)
            return (u, path, nfe + self.calls), None

        (u, path, nfe), _ = jax.lax.scan(step, (u1, path, jnp.int32(0)), rows)
        kept = None if path is None else path[places]
        return self.finish(sde, residual_fn, Samples(u, nfe, kept))

    def finish(self, sde: SDE, residual_fn: ResidualFn, done: Samples) -> Samples:
        """With ``reference_compatible`` velocities drift too, at the cost of a call."""
        if not self.counts_last:
            return super().finish(sde, residual_fn, done)
        t = jnp.full(done.u.shape[:1], self.t_end, done.u.dtype)
        drift = reverse_drift(sde, done.u, t, residual_fn(done.u, t))
        u = done.u - self.t_end * drift
        path = None if done.path is None else done.path.at[-1].set(u)
        return Samples(u, done.nfe + 1, path)

r"""Heun's method on the probability flow, as in EDM.

In y = u / alpha and kappa = sigma / alpha the flow is dy/dkappa = eps_hat. A step
predicts with the slope at its start, and corrects with the mean of the slopes at
both ends:

    u_s = (alpha_s / alpha_t) u_t + alpha_s (kappa_s - kappa_t) (e_t + e') / 2,
                                                                           (1)

where e' = e_t in the prediction and eps_hat(predicted u_s, s) in the correction.
The last step is not corrected: 2 num_steps - 1 calls.

Source: Karras et al., arXiv 2206.00364, Algorithm 1.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from lsgm.samplers.fixed_grid import FixedGrid, Memory, Row, Table
from lsgm.samplers.grids import Grid, Karras, marginals
from lsgm.sdes.scalar import ScalarSDE
from lsgm.typing import State


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heun(FixedGrid):
    """Eq. (1). Remembers where the step started, and the slope there."""

    order: ClassVar[int] = 2

    grid: Grid = Karras()

    def table(self, sde: ScalarSDE) -> Table:
        times = self.grid(sde, self.t_start, self.t_end, self.num_steps)
        at = marginals(sde, times)
        now, then = at.steps()
        step = np.repeat(np.arange(self.num_steps), 2)[:-1]
        corrects = np.arange(len(step)) % 2
        return {
            "t": at.t[step + corrects],
            "anchor": at.anchor[step + corrects],
            "corrects": corrects,
            "ratio": (then.alpha / now.alpha)[step],
            "width": (then.alpha * (then.kappa - now.kappa))[step],
            "step": step + 1,
        }

    def memory_size(self, table: Table) -> int:
        return 2

    def advance(
        self, row: Row, u: State, residual: State, memory: Memory
    ) -> tuple[State, Memory]:
        """Eq. (1), predicting or correcting."""
        slope = row["anchor"] * u + residual
        base = jnp.where(row["corrects"], memory[0], u)
        first = jnp.where(row["corrects"], memory[1], slope)
        u = row["ratio"] * base + row["width"] * (0.5 * (first + slope))
        return u, (base, first)

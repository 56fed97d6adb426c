r"""The probability flow for likelihoods, in the residual's own coordinate.

Variance-preserving processes have du/dS = r(u, t) in S = artanh(sigma)
(``lsgm.samplers.normal_residual``, Eq. 1). The density changes along it by

    log p(u_0) = log p_1(u_1) + int div r(u, t) dS,                        (1)

so that only the residual's divergence is integrated. Of Normal data r = 0: one call
gives their likelihood exactly. In the angle phi = arcsin(sigma), dS = dphi / alpha, and

    du/dphi = r / alpha                                                    (2)

is smooth up to t = 1, where r falls with alpha. The rule is Adams-Bashforth in phi on
stored residuals, from the data to the noise: one call per step. The last call is made
before t = 1, so no error of the network is divided by alpha there. (A sampler begins
at t = 1, and so interpolates r itself.)

Sources: own derivation; Chen et al., arXiv 1806.07366, for (1).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.samplers.flow_solver import FlowSolver, Slope, Solution
from lsgm.samplers.grids import Angle, Grid, marginals
from lsgm.samplers.multistep import adams_weights, check_order
from lsgm.sdes.base import SDE
from lsgm.sdes.scalar import ScalarSDE, VariancePreservingSDE
from lsgm.typing import PyTree, ResidualFn, State, Time


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResidualFlow(FlowSolver):
    """Eqs. (1) and (2) on a fixed grid, ``num_steps`` calls.

    For variance-preserving processes.

    Attributes:
      t_end: the time whose density it gives.
      order: how many of the last residuals a step takes in, 1 to 3. The first step has
        one alone, so errors fall with the square of the step size at best.
      grid: how the times lie.
    """

    t_end: float = 1e-5
    num_steps: int = 10
    order: int = 2
    grid: Grid = Angle()

    def __post_init__(self) -> None:
        if not 0 < self.t_end < 1:
            raise ValueError(f"t_end must lie in (0, 1), not {self.t_end}")
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, not {self.num_steps}")
        check_order(self.order)

    def field(
        self, sde: SDE, residual_fn: ResidualFn
    ) -> Callable[[State, Time], State]:
        _require_known(sde)
        return residual_fn

    def integrate(self, sde: SDE, slope: Slope, y0: PyTree, args: PyTree) -> Solution:
        times, weights = self.table(_require_known(sde))
        dtype = jax.tree.leaves(y0)[0].dtype
        rows = jnp.asarray(times[:-1], dtype), jnp.asarray(weights, dtype)
        num = jax.tree.leaves(y0)[0].shape[0]

        def call(carry: tuple, row: tuple) -> tuple[tuple, None]:
            y, memory, nfe = carry
            t, weights = row
            slopes = (slope(y, jnp.full(num, t), args), *memory)

            def advance(y: State, *slopes: State) -> State:
                steps = zip(weights, slopes, strict=True)
                return y + sum(weight * slope for weight, slope in steps)

            y = jax.tree.map(advance, y, *slopes)
            return (y, slopes[: self.order - 1], nfe + 1), None

        memory = (jax.tree.map(jnp.zeros_like, y0),) * (self.order - 1)
        (y, _, nfe), _ = jax.lax.scan(call, (y0, memory, jnp.int32(0)), rows)
        return Solution(y, nfe, None)

    def table(self, sde: ScalarSDE) -> tuple[np.ndarray, np.ndarray]:
        """Times from ``t_end`` to 1, [steps + 1], and the weights of each step's
        residuals, the latest first, [steps, order]; float64."""
        times = self.grid(sde, 1.0, self.t_end, self.num_steps)[::-1]
        at = marginals(sde, times)
        phi = np.arctan2(at.sigma, at.alpha)
        weights = adams_weights(phi, lambda phi: phi, np.ones_like, self.order)
        for j in range(min(self.order, self.num_steps)):
            weights[j:, j] /= at.alpha[: self.num_steps - j]
        return times, weights

    def loosened(self, factor: float) -> "ResidualFlow":
        """With fewer steps, by ``factor``."""
        return dataclasses.replace(self, num_steps=math.ceil(self.num_steps / factor))

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "num_steps": self.num_steps,
            "order": self.order,
            "t_end": self.t_end,
        }


def _require_known(sde: SDE) -> ScalarSDE:
    if not isinstance(sde, VariancePreservingSDE):
        raise ValueError(
            f"ResidualFlow needs a VariancePreservingSDE, not {sde}: ProbabilityFlow "
            "takes any process"
        )
    return sde

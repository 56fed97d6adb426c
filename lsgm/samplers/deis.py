r"""DEIS: Adams-Bashforth on the predicted noise, interpolated in time.

In u / alpha and kappa = sigma / alpha the probability flow is d(u/alpha) =
eps_hat dkappa, so

    u_s = (alpha_s / alpha_t) u_t + alpha_s sum_j w_j eps_hat_j,           (1)
    w_j = int L_j(t) dkappa.                                               (2)

Order 1 is DDIM. One call per step.

Source: Zhang and Chen, arXiv 2204.13902, the variant tAB.
"""

import dataclasses

import numpy as np

from lsgm.samplers.fixed_grid import FixedGrid, Table
from lsgm.samplers.grids import Grid, Quadratic, marginals, times_of
from lsgm.samplers.multistep import adams_weights, check_order
from lsgm.sdes.scalar import ScalarSDE


@dataclasses.dataclass(frozen=True, kw_only=True)
class DEIS(FixedGrid):
    """Eq. (1) with the last ``order`` predictions; ``num_steps`` calls."""

    grid: Grid = Quadratic()
    order: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order(self.order)

    def table(self, sde: ScalarSDE) -> Table:
        times = self.grid(sde, self.t_start, self.t_end, self.num_steps)
        at = marginals(sde, times)
        now, then = at.steps()
        # In log kappa, because kappa spans orders of magnitude in one step.
        weights = adams_weights(
            np.log(at.kappa), lambda s: times_of(sde, s), np.exp, self.order
        )
        return {
            "t": now.t,
            "keep": then.alpha / now.alpha,
            "anchor": now.anchor,
            "scale": np.ones_like(now.t),
            "weights": then.alpha[:, None] * weights,
        }

r"""Integrates the residual alone: what Normal data need no steps for, is free.

Variance-preserving processes have du/dt = (g^2 / 2 sigma) r (``lsgm.sdes.scalar``,
Eq. 3), and var' = g^2 (1 - var). In S = artanh(sigma) therefore

    du/dS = r(u, t).                                                       (1)

Adams-Bashforth on stored residuals, interpolated in the angle phi = arcsin(sigma),

    u_s = u_t + sum_j w_j r_j,  w_j = int L_j(phi) dS,  phi = arctan(sinh(S)),
                                                                           (2)

is exact for Normal data at any number of steps, and stays finite as sigma tends to
0. One call per step.

As alpha tends to 0, r tends to -alpha times the data's mean. A first step from t = 1
takes it for constant while alpha grows from alpha_1 to the step's length h in phi,
which costs O(h mean) at any ``order``. So the order is 2 for centred data, for h below
alpha_1, or from ``t_start`` < 1; else less. Steps of r / alpha in phi would have it
always, but weigh the network's error at t = 1 by h / alpha_1, not by its logarithm.

With ``t_start`` < 1 it begins where the latents' distribution is
still Normal and spares the stretch where the network has only noise to tell from
noise.

Sources: own derivation; DPM-Solver-v3, arXiv 2310.13268, fits the linear term that
is known here in advance.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from lsgm.samplers.fixed_grid import FixedGrid, Table
from lsgm.samplers.grids import Angle, Grid, marginals
from lsgm.samplers.multistep import adams_weights, check_order
from lsgm.sdes.base import SDE
from lsgm.sdes.scalar import ScalarSDE, VariancePreservingSDE


@dataclasses.dataclass(frozen=True, kw_only=True)
class NormalResidual(FixedGrid):
    """Eq. (2) with the last ``order`` residuals; ``num_steps`` calls."""

    needs: ClassVar[type[SDE]] = VariancePreservingSDE

    grid: Grid = Angle()
    order: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order(self.order)

    def table(self, sde: ScalarSDE) -> Table:
        times = self.grid(sde, self.t_start, self.t_end, self.num_steps)
        weights = adams_weights(
            np.arctanh(marginals(sde, times).sigma),
            lambda s: np.arctan(np.sinh(s)),
            np.ones_like,
            self.order,
        )
        ones = np.ones(self.num_steps)
        return {
            "t": times[:-1],
            "keep": ones,
            "anchor": 0 * ones,
            "scale": ones,
            "weights": weights,
        }

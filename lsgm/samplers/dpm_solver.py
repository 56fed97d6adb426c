r"""DPM-Solver++ (2M): two steps of memory on the predicted data.

With lambda = log(alpha / sigma), h = lambda_s - lambda_t and x the predicted data,

    u_s = (sigma_s / sigma_t) u_t + alpha_s (1 - e^{-h}) D,                (1)
    D = x + (h / 2 h_before) (x - x_before).                               (2)

D = x in the first step, and in the last of a short run, where extrapolation to clean
data is not to be trusted. One call per step.

Source: Lu et al., arXiv 2211.01095, Algorithm 2; the short run is 15 steps there.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from lsgm.samplers.fixed_grid import FixedGrid, Table
from lsgm.samplers.grids import Grid, LogSNR, marginals
from lsgm.sdes.scalar import ScalarSDE

_SHORT = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class DPMSolver(FixedGrid):
    """Eqs. (1) and (2); ``num_steps`` calls."""

    order: ClassVar[int] = 2

    grid: Grid = LogSNR()

    def table(self, sde: ScalarSDE) -> Table:
        times = self.grid(sde, self.t_start, self.t_end, self.num_steps)
        at = marginals(sde, times)
        now, then = at.steps()
        h = -np.diff(np.log(at.kappa))
        slope = np.concatenate([[0.0], h[1:] / (2 * h[:-1])])
        if self.num_steps < _SHORT:
            slope[-1] = 0.0
        gain = -then.alpha * np.expm1(-h)
        return {
            "t": now.t,
            "keep": then.sigma / now.sigma,
            "anchor": now.data_u,
            "scale": now.data_r,
            "weights": gain[:, None] * np.stack([1 + slope, -slope], axis=-1),
        }

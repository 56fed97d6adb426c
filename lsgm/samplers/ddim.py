r"""DDIM: the probability flow in one call per step, exact for a constant eps_hat.

    u_s = (alpha_s / alpha_t) (u - sigma_t eps_hat) + sigma_s eps_hat      (1)

An exact prediction lands on the exact next marginal. This is Euler's method on
d(u / alpha) = eps_hat d(sigma / alpha).

Source: Song et al., arXiv 2010.02502, Eq. 12 without noise.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from lsgm.samplers.fixed_grid import FixedGrid, Table
from lsgm.samplers.grids import marginals
from lsgm.sdes.scalar import ScalarSDE


@dataclasses.dataclass(frozen=True, kw_only=True)
class DDIM(FixedGrid):
    """Eq. (1); ``num_steps`` calls."""

    order: ClassVar[int] = 1

    def table(self, sde: ScalarSDE) -> Table:
        times = self.grid(sde, self.t_start, self.t_end, self.num_steps)
        now, then = marginals(sde, times).steps()
        ratio = then.alpha / now.alpha
        return {
            "t": now.t,
            "keep": ratio,
            "anchor": now.anchor,
            "scale": np.ones_like(ratio),
            "weights": (then.sigma - ratio * now.sigma)[:, None],
        }

r"""Euler-Maruyama on the reverse-time SDE.

Backwards in time the process is du = (f - g^2 score) dt + g dw, and the score is
-eps_hat / sigma. With f = -beta u / 2 and h = t - s,

    u_s = (1 + h beta / 2) u_t - (h g^2 / sigma) eps_hat + g sqrt(h) n.    (1)

Weakly of order 1; ``num_steps`` calls.

Source: Song et al., arXiv 2011.13456, Eq. 6.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from lsgm.numerics import on_host
from lsgm.samplers.fixed_grid import FixedGrid, Table
from lsgm.samplers.grids import marginals
from lsgm.sdes.scalar import ScalarSDE


@dataclasses.dataclass(frozen=True, kw_only=True)
class EulerMaruyama(FixedGrid):
    """Eq. (1)."""

    order: ClassVar[int] = 1

    num_steps: int = 1000

    def table(self, sde: ScalarSDE) -> Table:
        times = self.grid(sde, self.t_start, self.t_end, self.num_steps)
        return reverse_steps(sde, times)


def reverse_steps(sde: ScalarSDE, times: np.ndarray) -> Table:
    """Eq. (1) for each step of a grid."""
    now, _ = marginals(sde, times).steps()
    h = -np.diff(times)
    beta, g2 = on_host(sde.beta, now.t), on_host(sde.g2, now.t)
    return {
        "t": now.t,
        "keep": 1 + 0.5 * h * beta,
        "anchor": now.anchor,
        "scale": np.ones_like(h),
        "weights": (-h * g2 / now.sigma)[:, None],
        "noise": np.sqrt(h * g2),
    }

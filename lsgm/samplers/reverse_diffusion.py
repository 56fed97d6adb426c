r"""Reverse diffusion: the forward chain's own steps, backwards.

Between grid times s < t the process has the kernel N(a u_s, b), a = alpha_t / alpha_s,
b = var_t - a^2 var_s. Read as one step of the forward chain, u_t = u_s + F(u_s) + G n
with F(u) = (a - 1) u and G^2 = b, it is reversed as an SDE is,

    u_s = u_t - F(u_t) + G^2 score + G n = (2 - a) u_t - (b / sigma_t) eps_hat
          + sqrt(b) n.                                                     (1)

Unlike Euler-Maruyama it knows how much noise a long step adds; to first order in the
step both are ancestral sampling. Weakly of order 1; ``num_steps`` calls.

Source: Song et al., arXiv 2011.13456, Eq. 46 and appendix E.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from lsgm.samplers.fixed_grid import FixedGrid, Table
from lsgm.samplers.grids import marginals
from lsgm.sdes.scalar import ScalarSDE


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReverseDiffusion(FixedGrid):
    """Eq. (1)."""

    order: ClassVar[int] = 1

    num_steps: int = 1000

    def table(self, sde: ScalarSDE) -> Table:
        times = self.grid(sde, self.t_start, self.t_end, self.num_steps)
        return reverse_diffusion_steps(sde, times)


def reverse_diffusion_steps(sde: ScalarSDE, times: np.ndarray) -> Table:
    """Eq. (1) for each step of a grid."""
    now, then = marginals(sde, times).steps()
    ratio = now.alpha / then.alpha
    added = now.sigma**2 - (ratio * then.sigma) ** 2
    return {
        "t": now.t,
        "keep": 2 - ratio,
        "anchor": now.anchor,
        "scale": np.ones_like(ratio),
        "weights": (-added / now.sigma)[:, None],
        "noise": np.sqrt(added),
    }

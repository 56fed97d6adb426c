r"""Ancestral sampling of the discretised chain, as in DDPM.

Between grid times s < t the process has the kernel N(a u_s, b), a = alpha_t / alpha_s,
b = var_t - a^2 var_s. The chain is sampled backwards as

    u_s = (u_t - (b / sigma_t) eps_hat) / a + sqrt(v) n,                   (1)

where v is the kernel's variance b, or that of the posterior p(u_s | u_t, u_0),

    v = b var_s / var_t.                                                   (2)

The last call predicts the data,

    u_0 = (u_t - sigma_t eps_hat) / alpha_t,                               (3)

clipped where asked for: the published code clips latents at 3, and Normal ones lie
beyond it with probability 0.003 each.

Sources: Ho et al., arXiv 2006.11239, Eq. 11 and section 3.2 for the two variances;
LSGM, arXiv 2106.05931, whose discretised chain of T steps is ``num_steps`` = T on the
uniform grid with ``t_end`` = 1 / T.
"""

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from lsgm.samplers.fixed_grid import FixedGrid, Memory, Row, Table
from lsgm.samplers.grids import marginals
from lsgm.sdes.scalar import ScalarSDE
from lsgm.typing import State

VARIANCES = ("kernel", "posterior")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ancestral(FixedGrid):
    """Eqs. (1) to (3); ``num_steps`` calls, one of them Eq. (3).

    Attributes:
      variance: v of Eq. (1), "kernel" or "posterior".
      clip: largest absolute value of the data, if there is one.
    """

    order: ClassVar[int] = 1

    num_steps: int = 1000
    t_end: float = 1e-3
    variance: str = "kernel"
    clip: float = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_steps < 2:
            raise ValueError(f"num_steps must be at least 2, not {self.num_steps}")
        if self.denoise != "none":
            raise ValueError(
                f"denoise = {self.denoise!r}: the last call of Ancestral predicts the "
                "data; leave denoise at 'none'"
            )
        if self.variance not in VARIANCES:
            allowed = ", ".join(VARIANCES)
            raise ValueError(f"variance = {self.variance!r}: allowed are {allowed}")
        if not self.clip > 0:
            raise ValueError(f"clip must be positive, not {self.clip}")

    def table(self, sde: ScalarSDE) -> Table:
        times = self.grid(sde, self.t_start, self.t_end, self.num_steps - 1)
        at = marginals(sde, times)
        now, then = at.steps()
        ratio = now.alpha / then.alpha
        kernel = now.sigma**2 - (ratio * then.sigma) ** 2
        posterior = kernel * (then.sigma / now.sigma) ** 2
        weights = -kernel / (now.sigma * ratio)
        noise = np.sqrt(kernel if self.variance == "kernel" else posterior)
        limit = np.full(self.num_steps, np.inf)
        limit[-1] = self.clip
        return {
            "t": at.t,
            "keep": np.append(1 / ratio, 1 / at.alpha[-1]),
            "anchor": at.anchor,
            "scale": np.ones(self.num_steps),
            "weights": np.append(weights, -at.kappa[-1])[:, None],
            "noise": np.append(noise, 0.0),
            "limit": limit,
        }

    def advance(
        self, row: Row, u: State, residual: State, memory: Memory
    ) -> tuple[State, Memory]:
        """Eq. (1) without the noise, or Eq. (3)."""
        u, memory = super().advance(row, u, residual, memory)
        return jnp.clip(u, -row["limit"], row["limit"]), memory

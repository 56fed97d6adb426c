r"""Euler-Maruyama for Langevin diffusions.

    u_s = u_t - h (f - g^2 score) + g sqrt(h) n,   h = t - s,              (1)

with the noise n in the velocity alone. Weakly of order 1; ``num_steps`` calls. It
leaves residual noise where SSCS contracts: at few calls that costs more.

Source: CLD, arXiv 2112.07068, appendix on sampling.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from lsgm.numerics import on_host
from lsgm.samplers.base import reverse_drift
from lsgm.samplers.fixed_grid import Row, Table
from lsgm.samplers.langevin import LangevinSampler
from lsgm.sdes.langevin import Langevin
from lsgm.typing import Array, Float, ResidualFn, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class LangevinEuler(LangevinSampler):
    """Eq. (1)."""

    def table(self, sde: Langevin) -> Table:
        times = self.times(sde)
        t, length = times[:-1], -np.diff(times)
        return {"t": t, "length": length, "noise": (length * on_host(sde.g2, t)) ** 0.5}

    def advance(
        self,
        row: Row,
        sde: Langevin,
        residual_fn: ResidualFn,
        u: State,
        noise: Float[Array, "k b *s"],
    ) -> State:
        t = jnp.full(u.shape[:1], row["t"])
        drift = reverse_drift(sde, u, t, residual_fn(u, t))
        added = sde.embed(sde.noised(noise[0]))
        return u - row["length"] * drift + row["noise"] * added

r"""Variance-preserving SDE whose rate grows with a power of time.

    beta(t) = beta_0 + (beta_1 - beta_0) t^p                               (1)
    int_beta(t) = beta_0 t + (beta_1 - beta_0) t^(p+1) / (p + 1)           (2)

and otherwise the linear process (p = 1). Inverting (2) for p = 2 is the depressed
cubic t^3 + P t - q = 0, P = 3 beta_0 / slope, q = 3 int_beta / slope. Cardano's
root is u - w with the real cube roots

    u = cbrt(q/2 + D),  w = P / (3u) = cbrt(D - q/2),  D = sqrt(q^2/4 + P^3/27),

which cancels for small t. Since u^3 - w^3 = q, the same root is

    t = q / (u^2 + u w + w^2).                                             (3)

Sources: the ``vpsde_power`` setting of LSGM, arXiv 2106.05931; definition as in
LION, arXiv 2210.06978. Eq. (3): own derivation.
"""

import dataclasses

import jax.numpy as jnp

from lsgm.sdes.vpsde import VPSDE
from lsgm.typing import Time

# Newton starts within a factor 2 of the root and converges quadratically: six
# steps reach float64.
_NEWTON_STEPS = 7


@dataclasses.dataclass(frozen=True, kw_only=True)
class PowerVPSDE(VPSDE):
    """Rate growing with t^power from ``beta_0`` to ``beta_1``, Eqs. (1) and (2)."""

    power: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.power < 1:
            raise ValueError(f"power must be at least 1, not {self.power}")
        if not self.slope > 0:
            raise ValueError(f"beta_1 must exceed beta_0, not be {self.beta_1}")

    def beta(self, t: Time) -> Time:
        return self.beta_0 + self.slope * t**self.power

    def int_beta(self, t: Time) -> Time:
        """Eq. (2)."""
        growth = self.slope / (self.power + 1)
        return self.beta_0 * t + growth * t ** (self.power + 1)

    def inv_int_beta(self, int_beta: Time) -> Time:
        """Time at which Eq. (2) has this value."""
        return self._cubic(int_beta) if self.power == 2 else self._newton(int_beta)

    def unweighted_integral(self) -> None:
        """No closed form."""

    def _cubic(self, int_beta: Time) -> Time:
        """Eq. (3)."""
        third = self.beta_0 / self.slope
        q = 3 * int_beta / self.slope
        u = jnp.cbrt(0.5 * q + jnp.sqrt(0.25 * q**2 + third**3))
        w = third / u
        return q / (u**2 + u * w + w**2)

    def _newton(self, int_beta: Time) -> Time:
        # Each term of (2) alone bounds t from above; from there Newton's method on
        # this convex, increasing function descends to the root.
        order = self.power + 1
        t = jnp.minimum(
            int_beta / self.beta_0, (order * int_beta / self.slope) ** (1 / order)
        )
        for _ in range(_NEWTON_STEPS):
            t = t - (self.int_beta(t) - int_beta) / self.beta(t)
        return t

r"""Linear variance-preserving SDE.

    beta(t) = beta_0 + (beta_1 - beta_0) t                                 (1)
    int_beta(t) = beta_0 t + (beta_1 - beta_0) t^2 / 2                     (2)
    alpha = exp(-int_beta / 2),  var = 1 - (1 - var_0) exp(-int_beta)      (3)

With h = (beta_1 - beta_0) / 2 and p = beta_0 / (beta_1 - beta_0), completing the
square gives int_beta = h (t + p)^2 - h p^2 and

    int (1 - var) dt = (1 - var_0) exp(h p^2) sqrt(pi / 4h) erf(sqrt(h) (t + p))
                                                                           (4)

where h p^2 = beta_0 p / 2; LSGM's published code has exp(p / 2) there.

Sources: Ho et al., arXiv 2006.11239; Song et al., arXiv 2011.13456, Eq. 32; with
the initial variance ``var_0`` of LSGM, arXiv 2106.05931, and (4) from its
importance sampling of the unweighted objective.
"""

import dataclasses
import math

import jax.numpy as jnp
from jax.scipy.special import erf, erfinv

from lsgm.sdes.base import TimeIntegral
from lsgm.sdes.scalar import VariancePreservingSDE
from lsgm.typing import Time


@dataclasses.dataclass(frozen=True, kw_only=True)
class VPSDE(VariancePreservingSDE):
    """Linear rate from ``beta_0`` to ``beta_1``, Eqs. (1) to (3)."""

    beta_0: float = 0.1
    beta_1: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("beta_0", "beta_1"):
            if not getattr(self, name) > 0:
                value = getattr(self, name)
                raise ValueError(f"{name} must be positive, not {value}")

    @property
    def slope(self) -> float:
        """Growth of the rate, beta_1 - beta_0."""
        return self.beta_1 - self.beta_0

    def beta(self, t: Time) -> Time:
        return self.beta_0 + self.slope * t

    def int_beta(self, t: Time) -> Time:
        """Eq. (2)."""
        return self.beta_0 * t + 0.5 * self.slope * t**2

    def inv_int_beta(self, int_beta: Time) -> Time:
        """Time at which Eq. (2) has this value."""
        # The root written without cancellation: 2c / (b + sqrt(b^2 + 2ac)).
        root = jnp.sqrt(self.beta_0**2 + 2 * self.slope * int_beta)
        return 2 * int_beta / (self.beta_0 + root)

    def alpha(self, t: Time) -> Time:
        return jnp.exp(-0.5 * self.int_beta(t))

    def var(self, t: Time) -> Time:
        # float32 1 - exp(-x) has lost every digit of var at t = 1e-6.
        int_beta = self.int_beta(t)
        return -jnp.expm1(-int_beta) + self.var_0 * jnp.exp(-int_beta)

    def one_minus_var(self, t: Time) -> Time:
        return self.data_var * jnp.exp(-self.int_beta(t))

    def log_snr(self, t: Time) -> Time:
        return -self.int_beta(t) - jnp.log(self.var(t))

    def inv_var(self, var: Time) -> Time:
        return self.inv_int_beta(math.log1p(-self.var_0) - jnp.log1p(-var))

    def unweighted_integral(self) -> TimeIntegral | None:
        """Eq. (4); None where the rate is too flat for float32 to hold its erf."""
        if self.slope <= 0 or self.beta_0**2 > 2 * self.slope:
            return None
        root = math.sqrt(0.5 * self.slope)
        shift = self.beta_0 / self.slope
        scale = self.data_var * math.exp(0.5 * self.beta_0 * shift)
        scale *= math.sqrt(math.pi) / (2 * root)
        return TimeIntegral(
            value=lambda t: scale * erf(root * (t + shift)),
            inverse=lambda c: erfinv(c / scale) / root - shift,
            published_scale=math.exp(0.5 * (1 - self.beta_0) * shift),
        )

r"""Linear variance-preserving SDE.

    beta(t) = beta_0 + (beta_1 - beta_0) t                                 (1)
    int_beta(t) = beta_0 t + (beta_1 - beta_0) t^2 / 2                     (2)
    alpha = exp(-int_beta / 2),  var = 1 - (1 - var_0) exp(-int_beta)      (3)

Sources: Ho et al., arXiv 2006.11239; Song et al., arXiv 2011.13456, Eq. 32; with
the initial variance ``var_0`` of LSGM, arXiv 2106.05931.
"""

import dataclasses

import jax.numpy as jnp

from lsgm.sdes.base import VariancePreservingSDE
from lsgm.typing import Time


@dataclasses.dataclass(frozen=True, kw_only=True)
class VPSDE(VariancePreservingSDE):
    """Linear rate from ``beta_0`` to ``beta_1``, Eqs. (1) to (3)."""

    beta_0: float = 0.1
    beta_1: float = 20.0

    def beta(self, t: Time) -> Time:
        return self.beta_0 + (self.beta_1 - self.beta_0) * t

    def int_beta(self, t: Time) -> Time:
        """Eq. (2)."""
        return self.beta_0 * t + 0.5 * (self.beta_1 - self.beta_0) * t**2

    def alpha(self, t: Time) -> Time:
        return jnp.exp(-0.5 * self.int_beta(t))

    def var(self, t: Time) -> Time:
        # float32 1 - exp(-x) has lost every digit of var at t = 1e-6.
        int_beta = self.int_beta(t)
        return -jnp.expm1(-int_beta) + self.var_0 * jnp.exp(-int_beta)

    def inv_var(self, var: Time) -> Time:
        int_beta = jnp.log1p(-self.var_0) - jnp.log1p(-var)
        slope = self.beta_1 - self.beta_0
        # The root written without cancellation: 2c / (b + sqrt(b^2 + 2ac)).
        root = jnp.sqrt(self.beta_0**2 + 2 * slope * int_beta)
        return 2 * int_beta / (self.beta_0 + root)

r"""Sub-variance-preserving SDE.

With beta and int_beta of the linear variance-preserving process, its companion,

    g^2 = beta (1 - exp(-2 int_beta)),  alpha = exp(-int_beta / 2)         (1)
    var = (1 - exp(-int_beta))^2 + var_0 exp(-int_beta).                   (2)

Times are drawn from the densities that are optimal for the companion, as LSGM
does.

Sources: Song et al., arXiv 2011.13456, Eq. 25 to 29; with the initial variance
and the proposals of LSGM, arXiv 2106.05931.
"""

import dataclasses

import jax.numpy as jnp

from lsgm.sdes.scalar import ScalarSDE
from lsgm.sdes.vpsde import VPSDE
from lsgm.typing import Time


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubVPSDE(ScalarSDE):
    """Less noise than the linear VPSDE at the same mean, Eqs. (1) and (2)."""

    var_0: float = 0.0
    beta_0: float = 0.1
    beta_1: float = 20.0

    def __post_init__(self) -> None:
        # The companion has the same fields with the same ranges.
        _ = self.proposal

    @property
    def proposal(self) -> VPSDE:
        """The companion process."""
        return VPSDE(var_0=self.var_0, beta_0=self.beta_0, beta_1=self.beta_1)

    @property
    def data_var(self) -> float:
        return 1 - self.var_0

    @property
    def prior_var(self) -> float:
        return 1.0

    def beta(self, t: Time) -> Time:
        return self.proposal.beta(t)

    def g2(self, t: Time) -> Time:
        return -self.beta(t) * jnp.expm1(-2 * self.proposal.int_beta(t))

    def alpha(self, t: Time) -> Time:
        return self.proposal.alpha(t)

    def var(self, t: Time) -> Time:
        int_beta = self.proposal.int_beta(t)
        return jnp.expm1(-int_beta) ** 2 + self.var_0 * jnp.exp(-int_beta)

    def one_minus_var(self, t: Time) -> Time:
        decay = jnp.exp(-self.proposal.int_beta(t))
        return decay * (2 - self.var_0 - decay)

    def inv_var(self, var: Time) -> Time:
        """The later of the times with this variance: for ``var_0`` > 0 it dips
        before it grows."""
        # Eq. (2) is x^2 - var_0 x + var_0 = var in x = 1 - exp(-int_beta).
        half = 0.5 * self.var_0
        # A rounded variance may lie below the dip.
        x = half + jnp.sqrt(jnp.maximum(var - self.var_0 + half**2, 0))
        return self.proposal.inv_int_beta(-jnp.log1p(-x))

r"""Variance-exploding SDE.

With L = log(var_max / var_min),

    f = 0,  alpha = 1,  var = var_min exp(L t),  g^2 = L var.              (1)

The initial variance is var_min. For Normal data of variance 1 - var_min,
N(t) = 1 - var_min + var, and the integrals behind importance sampling are

    int e g^2 / (2 var) dt = log(var / N) / 2                              (2)
    int e dt = log(var / N) / L                                            (3)
    int e g^2 / 2 dt = (1 - var_min) log(N) / 2.                           (4)

Sources: Song et al., arXiv 2011.13456, Eq. 30 and 31; LSGM, arXiv 2106.05931.
"""

import dataclasses
import math

import jax.numpy as jnp

from lsgm.sdes.base import TimeIntegral
from lsgm.sdes.scalar import ScalarSDE
from lsgm.typing import Time


@dataclasses.dataclass(frozen=True, kw_only=True)
class VESDE(ScalarSDE):
    """Data plus growing noise, Eq. (1).

    ``var_max`` comes from the data: the largest squared distance between two
    encodings.
    """

    var_min: float = 3e-5
    var_max: float

    def __post_init__(self) -> None:
        if not 0 < self.var_min < 1:
            raise ValueError(f"var_min must lie in (0, 1), not {self.var_min}")
        if not self.var_max > self.var_min:
            raise ValueError(
                f"var_max must exceed var_min = {self.var_min}, not be {self.var_max}"
            )

    @property
    def log_ratio(self) -> float:
        """L of Eq. (1)."""
        return math.log(self.var_max / self.var_min)

    @property
    def data_var(self) -> float:
        return 1 - self.var_min

    @property
    def prior_var(self) -> float:
        return self.var_max

    def beta(self, t: Time) -> Time:
        return jnp.zeros_like(t)

    def g2(self, t: Time) -> Time:
        return self.log_ratio * self.var(t)

    def alpha(self, t: Time) -> Time:
        return jnp.ones_like(t)

    def var(self, t: Time) -> Time:
        return self.var_min * jnp.exp(self.log_ratio * t)

    def inv_var(self, var: Time) -> Time:
        return jnp.log(var / self.var_min) / self.log_ratio

    def likelihood_integral(self) -> TimeIntegral:
        """Eq. (2)."""
        return self._log_var_share(0.5)

    def unweighted_integral(self) -> TimeIntegral:
        """Eq. (3)."""
        return self._log_var_share(1 / self.log_ratio)

    def reweighted_integral(self) -> TimeIntegral:
        """Eq. (4)."""
        scale = 0.5 * self.data_var
        return TimeIntegral(
            value=lambda t: scale * jnp.log1p(self._growth(t)),
            inverse=lambda c: self._inv_growth(jnp.expm1(c / scale)),
        )

    def _log_var_share(self, scale: float) -> TimeIntegral:
        """``scale`` log(var / N), inverted through var = (N - var) / (N/var - 1)."""
        return TimeIntegral(
            value=lambda t: scale * jnp.log(self.var(t) / self.normal_var(t)),
            inverse=lambda c: self.inv_var(self.data_var / jnp.expm1(-c / scale)),
        )

    def _growth(self, t: Time) -> Time:
        """N - 1 = var - var_min."""
        return self.var_min * jnp.expm1(self.log_ratio * t)

    def _inv_growth(self, growth: Time) -> Time:
        return jnp.log1p(growth / self.var_min) / self.log_ratio

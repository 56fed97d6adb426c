r"""Geometric variance-preserving SDE.

With r = var_max / var_min and G(t) = var_min r^t = var_max r^(t-1),

    var = G - var_min + var_0                                              (1)
    beta = var' / (1 - var) = G log(r) / (1 - var)                         (2)
    alpha^2 = (1 - var) / (1 - var_0)                                      (3)

At var_0 = var_min the kernel's log-variance is linear in t, which makes the
likelihood-weighted objective of Normal data constant in t.

Source: LSGM, arXiv 2106.05931, appendix on the geometric VPSDE.
"""

import dataclasses
import math

import jax.numpy as jnp

from lsgm.sdes.scalar import VariancePreservingSDE
from lsgm.typing import Time


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeometricVPSDE(VariancePreservingSDE):
    """Variance growing geometrically, Eqs. (1) to (3)."""

    var_min: float = 3e-5
    var_max: float = 0.999
    var_0: float = 3e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.var_min < self.var_max:
            raise ValueError(
                f"var_min must lie in (0, var_max = {self.var_max}), not {self.var_min}"
            )
        if not self.var_max - self.var_min + self.var_0 < 1:
            raise ValueError(
                "var_max - var_min + var_0, the variance at t = 1, must be below 1: "
                f"var_max = {self.var_max}"
            )

    @property
    def log_ratio(self) -> float:
        """log(r)."""
        return math.log(self.var_max / self.var_min)

    def var(self, t: Time) -> Time:
        return self.var_min * jnp.expm1(self.log_ratio * t) + self.var_0

    def one_minus_var(self, t: Time) -> Time:
        # Counted from t = 1: float32 1 - var has lost three digits there.
        last = 1 - self.var_max + self.var_min - self.var_0
        return last - self.var_max * jnp.expm1(self.log_ratio * (t - 1))

    def beta(self, t: Time) -> Time:
        growth = self.log_ratio * self.var_min * jnp.exp(self.log_ratio * t)
        return growth / self.one_minus_var(t)

    def alpha(self, t: Time) -> Time:
        return jnp.sqrt(self.one_minus_var(t) / self.data_var)

    def inv_var(self, var: Time) -> Time:
        return jnp.log1p((var - self.var_0) / self.var_min) / self.log_ratio

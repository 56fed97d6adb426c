r"""Weights w(t) of the squared noise error in score matching.

    loss = int w(t) E ||eps - eps_theta(u_t, t)||^2 dt.                    (1)

The error is that of the noised part, and l is the scale of its score. With the
likelihood weight, (1) plus ``sde.bound_constant`` bounds -log p(u_0) (LSGM, arXiv
2106.05931, Theorem 1). The others trade the bound for image quality.
Names of LSGM's published code: ``ll``, ``drop_sigma2t``, ``drop_all``, ``rescale``.
"""

import abc
import dataclasses

import jax.numpy as jnp

from lsgm.sdes.base import SDE, TimeIntegral
from lsgm.sdes.scalar import ScalarSDE
from lsgm.typing import Time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weighting(abc.ABC):
    """Contract of w(t), Eq. (1)."""

    @abc.abstractmethod
    def __call__(self, sde: SDE, t: Time) -> Time:
        """w(t), one value per example."""

    def integral(self, sde: SDE) -> TimeIntegral | None:
        """Integral of w(t) e(t) for Normal data in closed form, or None."""
        del sde
        return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LikelihoodWeighting(Weighting):
    """g^2 l^2 / 2, for scalar processes g^2 / (2 var): the bound."""

    def __call__(self, sde: SDE, t: Time) -> Time:
        return 0.5 * sde.g2(t) * sde.score_scale(t) ** 2

    def integral(self, sde: SDE) -> TimeIntegral | None:
        return sde.likelihood_integral()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reweighted(Weighting):
    """g^2 / 2."""

    def __call__(self, sde: SDE, t: Time) -> Time:
        return 0.5 * sde.g2(t)

    def integral(self, sde: SDE) -> TimeIntegral | None:
        return sde.reweighted_integral()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unweighted(Weighting):
    """1."""

    def __call__(self, sde: SDE, t: Time) -> Time:
        del sde
        return jnp.ones_like(t)

    def integral(self, sde: SDE) -> TimeIntegral | None:
        return sde.unweighted_integral()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rescaled(Weighting):
    """1 / (2 (1 - var)): makes the error of Normal data constant in time, so that
    uniform times are optimal. Meant for variance-preserving processes."""

    def __call__(self, sde: SDE, t: Time) -> Time:
        if not isinstance(sde, ScalarSDE):
            raise ValueError(
                f"Rescaled needs a ScalarSDE, not {sde}: Likelihood, Reweighted and "
                "Unweighted take any process"
            )
        return 0.5 / sde.one_minus_var(t)

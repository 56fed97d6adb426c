r"""Processes with one kernel for all dimensions, u_t = alpha z_0 + sigma eps.

Nothing is appended to the data: state, noise and noised part have one shape. With
N = Var(u_t) for Normal data, the error that ``normal_eps`` leaves is

    e = 1 - var / N = alpha^2 Var(z_0) / N,                                (1)
    e g^2 / var = d log(var / N) / dt,                                     (2)

the second because var' = g^2 - beta var and N' = g^2 - beta N.

For variance-preserving processes the probability flow loses its linear drift,

    du/dt = (g^2 / 2 sigma) r.                                             (3)

Sources: Song et al., arXiv 2011.13456; LSGM, arXiv 2106.05931 (Theorem 1, importance
sampling); the cancellation (3) follows from the mixed score.
"""

import abc
import dataclasses
import math

import jax
import jax.numpy as jnp

from lsgm.numerics import expand_to, on_host, sum_per_example
from lsgm.sdes.base import LOG_2PI, SDE, TimeIntegral
from lsgm.typing import Array, Clean, Float, Noise, PerExample, PRNGKey, State, Time


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScalarSDE(SDE):
    """One scalar kernel for all dimensions: u_t = alpha_t z_0 + sigma_t eps."""

    @abc.abstractmethod
    def beta(self, t: Time) -> Time:
        """Rate of the linear drift: f(u, t) = -beta(t) u / 2."""

    @abc.abstractmethod
    def alpha(self, t: Time) -> Time:
        """Mean coefficient alpha_t."""

    @abc.abstractmethod
    def var(self, t: Time) -> Time:
        """Kernel variance sigma_t^2."""

    @abc.abstractmethod
    def inv_var(self, var: Time) -> Time:
        """Time at which the kernel variance is ``var``."""

    @property
    @abc.abstractmethod
    def prior_var(self) -> float:
        """Variance of u_1."""

    def normal_var(self, t: Time) -> Time:
        """Marginal variance N of u_t for Normal data."""
        return self.data_var * self.alpha(t) ** 2 + self.var(t)

    def one_minus_var(self, t: Time) -> Time:
        """1 - var; processes override it where float32 would cancel."""
        return 1 - self.var(t)

    def normal_error(self, t: Time) -> Time:
        """Eq. (1), in the form that keeps its digits as var approaches N."""
        return self.data_var * self.alpha(t) ** 2 / self.normal_var(t)

    def log_snr(self, t: Time) -> Time:
        return 2 * jnp.log(self.alpha(t)) - jnp.log(self.var(t))

    def estimate(self, u: State, t: Time, residual: Noise) -> Clean:
        """(u - sigma eps_hat) / alpha without its cancellation."""
        alpha = self.alpha(t)
        of_u = self.data_var * alpha / self.normal_var(t)
        of_residual = jnp.sqrt(self.var(t)) / alpha
        return expand_to(of_u, u) * u - expand_to(of_residual, u) * residual

    def drift(self, u: State, t: Time) -> State:
        return -0.5 * expand_to(self.beta(t), u) * u

    def mean(self, z0: Clean, t: Time) -> State:
        return expand_to(self.alpha(t), z0) * z0

    def scale_noise(self, eps: State, t: Time) -> State:
        return expand_to(jnp.sqrt(self.var(t)), eps) * eps

    def score_scale(self, t: Time) -> Time:
        return jax.lax.rsqrt(self.var(t))

    def normal_eps(self, u: State, t: Time) -> Noise:
        return expand_to(jnp.sqrt(self.var(t)) / self.normal_var(t), u) * u

    def probability_flow(self, u: State, t: Time, residual: Noise) -> State:
        half_g2 = 0.5 * self.g2(t)
        normal = half_g2 / self.normal_var(t) - 0.5 * self.beta(t)
        scale = half_g2 * self.score_scale(t)
        return expand_to(normal, u) * u + expand_to(scale, u) * residual

    def prior_sample(self, key: PRNGKey, z_shape: tuple[int, ...]) -> State:
        return self.prior_var**0.5 * jax.random.normal(key, z_shape)

    def prior_log_prob(self, u: State) -> PerExample:
        return sum_per_example(
            -0.5 * (u**2 / self.prior_var + LOG_2PI + jnp.log(self.prior_var))
        )

    def bound_constant(self, t_min: float) -> float:
        (var,) = on_host(self.var, [t_min])
        if not var > 0:
            raise ValueError(f"t_min = {t_min}: the variance there must be positive")
        return 0.5 * (1 + LOG_2PI + math.log(var))

    def prior_kl(self, z0: Clean) -> Clean:
        return self._final_kl(z0, self.prior_var)

    def normal_bound(self, z0: Clean, t_min: float) -> Clean:
        """-E log N(u_tau; 0, N(tau)) at tau = t_min, because ``normal_eps`` is the
        score of that process; the last two terms replace its end, N(0, N(1)), by
        the prior's."""
        tau, one = jnp.full((1,), t_min), jnp.ones((1,))
        var = self.normal_var(tau)[0]
        mean2 = (self.alpha(tau)[0] * z0) ** 2
        bound = 0.5 * (LOG_2PI + jnp.log(var) + (mean2 + self.var(tau)[0]) / var)
        end = self._final_kl(z0, self.normal_var(one)[0])
        return bound + self._final_kl(z0, self.prior_var) - end

    def _final_kl(self, z0: Clean, var: Float[Array, ""] | float) -> Clean:
        """KL(p(u_1 | z_0) || N(0, var)) per dimension."""
        one = jnp.ones((z0.shape[0],))
        ratio = expand_to(self.var(one), z0) / var
        mean2 = self.mean(z0, one) ** 2 / var
        return 0.5 * (mean2 + ratio - 1 - jnp.log(ratio))


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariancePreservingSDE(ScalarSDE):
    """g^2 = beta and alpha^2 (1 - var_0) + var = 1, var_0 the variance at t = 0.

    Normal data means Var(z_0) = 1 - var_0 here, so that N = 1 at every t, the
    Normal part of the probability flow vanishes exactly, and e = 1 - var.
    """

    var_0: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.var_0 < 1:
            raise ValueError(f"var_0 must lie in [0, 1), not {self.var_0}")

    def g2(self, t: Time) -> Time:
        return self.beta(t)

    def normal_var(self, t: Time) -> Time:
        return jnp.ones_like(t)

    def one_minus_var(self, t: Time) -> Time:
        return self.data_var * self.alpha(t) ** 2

    def normal_error(self, t: Time) -> Time:
        return self.one_minus_var(t)

    def normal_eps(self, u: State, t: Time) -> Noise:
        return expand_to(jnp.sqrt(self.var(t)), u) * u

    def probability_flow(self, u: State, t: Time, residual: Noise) -> State:
        """Eq. (3): the linear drift cancels against the Normal part."""
        del u
        scale = 0.5 * self.beta(t) * self.score_scale(t)
        return expand_to(scale, residual) * residual

    def likelihood_integral(self) -> TimeIntegral:
        """log(var) / 2, by Eq. (2)."""
        return TimeIntegral(
            value=lambda t: 0.5 * jnp.log(self.var(t)),
            inverse=lambda c: self.inv_var(jnp.exp(2 * c)),
        )

    def reweighted_integral(self) -> TimeIntegral:
        """var / 2, because var' = beta (1 - var)."""
        return TimeIntegral(
            value=lambda t: 0.5 * self.var(t),
            inverse=lambda c: self.inv_var(2 * c),
        )

    @property
    def data_var(self) -> float:
        return 1 - self.var_0

    @property
    def prior_var(self) -> float:
        return 1.0

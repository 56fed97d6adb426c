r"""Forward processes: how clean latents become noise, in closed form.

Notation, for t in [0, 1] with noise growing:

    du = f(u, t) dt + G(t) dw,   f linear in u,                            (1)
    p(u_t | u_0) = N(mean(u_0, t), L_t L_t^T),                             (2)
    score on the noised part of p(u_t | u_0) = -l_t eps,                   (3)

where ``eps`` is standard normal noise and "noised" names the components that
receive dw: all of u for scalar processes, the velocity for Langevin ones.

Every predictor of this project is written as the exact noise predictor of
Normal data plus a *residual*, the part that a network has to learn:

    eps_theta(u, t) = normal_eps(u, t) + r(u, t).                          (4)

For variance-preserving processes the probability flow then loses its linear
drift, du/dt = (g^2 / 2 sigma) r  (5), which is how samplers receive it.

Importance sampling of times wants densities proportional to w(t) e(t), where w is
a weight of the squared noise error and

    e(t) = E (eps - normal_eps(u_t, t))^2 per dimension, for Normal data.  (6)

For a scalar kernel u_t = alpha u_0 + sigma eps with N = Var(u_t),

    e = 1 - var / N = alpha^2 Var(u_0) / N,                                (7)
    e g^2 / var = d log(var / N) / dt,                                     (8)

the last because var' = g^2 - beta var and N' = g^2 - beta N.

Sources: Song et al., arXiv 2011.13456 (1, 2); LSGM, arXiv 2106.05931 (mixed
score, Theorem 1, importance sampling); the cancellation (5) follows from (4).
"""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lsgm.numerics import expand_to, on_host, sum_per_example
from lsgm.typing import Array, Float, PerExample, PRNGKey, State, Time

LOG_2PI = 1.8378770664093453


class TimeIntegral(NamedTuple):
    """An antiderivative of w(t) e(t), Eq. (6), and its inverse function.

    Attributes:
      value: t to the antiderivative, increasing.
      inverse: its value back to t.
      published_scale: the normaliser of LSGM's published code over the exact one.
    """

    value: Callable[[Time], Time]
    inverse: Callable[[Time], Time]
    published_scale: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SDE(abc.ABC):
    """Contract of a forward process, Eqs. (1) to (5)."""

    def lift(self, key: PRNGKey, z0: State) -> State:
        """Data to initial state u_0; augmented processes append a velocity."""
        del key
        return z0

    def lower(self, u: State) -> State:
        """State to its data part."""
        return u

    def noised(self, u: State) -> State:
        """State to the components that are driven by dw."""
        return u

    @abc.abstractmethod
    def drift(self, u: State, t: Time) -> State:
        """f(u, t) of Eq. (1)."""

    @abc.abstractmethod
    def g2(self, t: Time) -> Time:
        """Squared diffusion G(t)^2 on the noised part."""

    @abc.abstractmethod
    def mean(self, u0: State, t: Time) -> State:
        """Mean of p(u_t | u_0), Eq. (2)."""

    @abc.abstractmethod
    def scale_noise(self, eps: State, t: Time) -> State:
        """L_t eps of Eq. (2)."""

    @abc.abstractmethod
    def score_scale(self, t: Time) -> Time:
        """l_t of Eq. (3)."""

    @abc.abstractmethod
    def normal_eps(self, u: State, t: Time) -> State:
        """Noise predictor of Normal data: the anchor of the mixed score, Eq. (4)."""

    @abc.abstractmethod
    def normal_error(self, t: Time) -> Time:
        """e(t) of Eq. (6): what ``normal_eps`` leaves of eps."""

    @abc.abstractmethod
    def probability_flow(self, u: State, t: Time, residual: State) -> State:
        """Velocity du/dt of the probability-flow ODE, Eq. (5)."""

    @abc.abstractmethod
    def prior_sample(self, key: PRNGKey, shape: tuple[int, ...]) -> State:
        """Draw u_1; ``shape`` is the data part's, batch first."""

    @abc.abstractmethod
    def prior_log_prob(self, u: State) -> PerExample:
        """log p(u_1) in nats, summed over dimensions."""

    @abc.abstractmethod
    def bound_constant(self, t_min: float) -> float:
        """Nats per dimension outside the time integral of LSGM Theorem 1,
        when the integral starts at ``t_min``."""

    @abc.abstractmethod
    def normal_bound(self, u0: State, t_min: float) -> State:
        """What the bound of LSGM Theorem 1, started at ``t_min`` and with the term
        at t = 1, comes to for the predictor ``normal_eps``: nats per dimension."""

    @abc.abstractmethod
    def prior_kl(self, u0: State) -> State:
        """KL(p(u_1 | u_0) || p(u_1)) per dimension in nats: the term at t = 1
        that Theorem 1 assumes to vanish."""

    @property
    def proposal(self) -> "SDE":
        """The process whose optimal densities of time are drawn from."""
        return self

    def likelihood_integral(self) -> TimeIntegral | None:
        """Integral of e g^2 l^2 / 2 in closed form, or None."""
        return None

    def reweighted_integral(self) -> TimeIntegral | None:
        """Integral of e g^2 / 2 in closed form, or None."""
        return None

    def unweighted_integral(self) -> TimeIntegral | None:
        """Integral of e in closed form, or None."""
        return None

    def perturb(self, u0: State, t: Time, eps: State) -> State:
        """u_t from u_0 and noise, Eq. (2)."""
        return self.mean(u0, t) + self.scale_noise(eps, t)

    def score(self, eps: State, t: Time) -> State:
        """Score on the noised part from a noise prediction, Eq. (3)."""
        return -expand_to(self.score_scale(t), eps) * eps


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScalarSDE(SDE):
    """One scalar kernel for all dimensions: u_t = alpha_t u_0 + sigma_t eps."""

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
    def data_var(self) -> float:
        """Variance of u_0 for Normal data."""

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
        """Eq. (7), in the form that keeps its digits as var approaches N."""
        return self.data_var * self.alpha(t) ** 2 / self.normal_var(t)

    def log_snr(self, t: Time) -> Time:
        """log(alpha_t^2 / sigma_t^2)."""
        return 2 * jnp.log(self.alpha(t)) - jnp.log(self.var(t))

    def drift(self, u: State, t: Time) -> State:
        return -0.5 * expand_to(self.beta(t), u) * u

    def mean(self, u0: State, t: Time) -> State:
        return expand_to(self.alpha(t), u0) * u0

    def scale_noise(self, eps: State, t: Time) -> State:
        return expand_to(jnp.sqrt(self.var(t)), eps) * eps

    def score_scale(self, t: Time) -> Time:
        return jax.lax.rsqrt(self.var(t))

    def normal_eps(self, u: State, t: Time) -> State:
        return expand_to(jnp.sqrt(self.var(t)) / self.normal_var(t), u) * u

    def probability_flow(self, u: State, t: Time, residual: State) -> State:
        half_g2 = 0.5 * self.g2(t)
        normal = half_g2 / self.normal_var(t) - 0.5 * self.beta(t)
        scale = half_g2 * self.score_scale(t)
        return expand_to(normal, u) * u + expand_to(scale, u) * residual

    def prior_sample(self, key: PRNGKey, shape: tuple[int, ...]) -> State:
        return self.prior_var**0.5 * jax.random.normal(key, shape)

    def prior_log_prob(self, u: State) -> PerExample:
        return sum_per_example(
            -0.5 * (u**2 / self.prior_var + LOG_2PI + jnp.log(self.prior_var))
        )

    def bound_constant(self, t_min: float) -> float:
        (var,) = on_host(self.var, [t_min])
        if not var > 0:
            raise ValueError(f"t_min = {t_min}: the variance there must be positive")
        return 0.5 * (1 + LOG_2PI + math.log(var))

    def prior_kl(self, u0: State) -> State:
        return self._final_kl(u0, self.prior_var)

    def normal_bound(self, u0: State, t_min: float) -> State:
        """-E log N(u_tau; 0, N(tau)) at tau = t_min, because ``normal_eps`` is the
        score of that process; the last two terms replace its end, N(0, N(1)), by
        the prior's."""
        tau, one = jnp.full((1,), t_min), jnp.ones((1,))
        var = self.normal_var(tau)[0]
        mean2 = (self.alpha(tau)[0] * u0) ** 2
        bound = 0.5 * (LOG_2PI + jnp.log(var) + (mean2 + self.var(tau)[0]) / var)
        end = self._final_kl(u0, self.normal_var(one)[0])
        return bound + self._final_kl(u0, self.prior_var) - end

    def _final_kl(self, u0: State, var: Float[Array, ""] | float) -> State:
        """KL(p(u_1 | u_0) || N(0, var)) per dimension."""
        one = jnp.ones((u0.shape[0],))
        ratio = expand_to(self.var(one), u0) / var
        mean2 = self.mean(u0, one) ** 2 / var
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

    def normal_eps(self, u: State, t: Time) -> State:
        return expand_to(jnp.sqrt(self.var(t)), u) * u

    def probability_flow(self, u: State, t: Time, residual: State) -> State:
        """Eq. (5): the linear drift cancels against the Normal part."""
        del u
        scale = 0.5 * self.beta(t) * self.score_scale(t)
        return expand_to(scale, residual) * residual

    def likelihood_integral(self) -> TimeIntegral:
        """log(var) / 2, by Eq. (8)."""
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

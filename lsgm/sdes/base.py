r"""Forward processes: how clean latents become noise, in closed form.

Notation, for t in [0, 1] with noise growing, data z_0 and state u_t:

    du = f(u, t) dt + G(t) dw,   f linear in u,                            (1)
    p(u_t | z_0) = N(mean(z_0, t), L_t L_t^T),                             (2)
    score on the noised part of p(u_t | z_0) = -l_t noised(eps),           (3)

where ``eps`` is standard normal noise and "noised" names the components that
receive dw. A scalar process has u_0 = z_0, and all of u is noised. An augmented
process appends components to the data, of which Eq. (2) is the average: they are
random at t = 0 already, and nothing draws them. Three shapes follow:

    z_0                              the data,
    u, mean, eps                     ``state_shape``,
    residual, score, normal_eps, dw  ``noise_shape``.

Every predictor of this project is written as the exact noise predictor of
Normal data plus a *residual*, the part that a network has to learn:

    noised(eps)_theta(u, t) = normal_eps(u, t) + r(u, t).                  (4)

Samplers receive r, and with it the probability flow,

    du/dt = f(u, t) - g^2 / 2 score, on the noised part,                   (5)

in a form of each process's own, in which nothing cancels.

Importance sampling of times wants densities proportional to w(t) e(t), where w is
a weight of the squared noise error and

    e(t) = E (noised(eps) - normal_eps(u_t, t))^2 per dimension, for Normal data. (6)

With S = L L^T, N the covariance of u_t for Normal data, and n dimensions of data,

    e g^2 l^2 = d (log det S - log det N) / dt / n.                        (7)

Sources: Song et al., arXiv 2011.13456 (1, 2); LSGM, arXiv 2106.05931 (mixed
score, Theorem 1, importance sampling); CLD, arXiv 2112.07068 (augmented states,
Eq. 2 averaged over the velocity). Eq. (7): own derivation.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from lsgm.numerics import expand_to
from lsgm.typing import Array, Clean, Noise, PerExample, PRNGKey, State, Time

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


class Lifted(NamedTuple):
    """A state with given data, and the density of what was drawn for it.

    Attributes:
      u: the state, [b *s].
      log_prob: of its components beyond the data, nats, [b]; 0 where there are none.
    """

    u: Array
    log_prob: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class SDE(abc.ABC):
    """Contract of a forward process, Eqs. (1) to (7).

    Shapes may have a batch axis or not: only the last axis, channels, ever differs
    between data and state. An augmented state is blocks of the data's channels, the
    data first. Components that receive no noise don't enter their own drift.
    """

    def state_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of states and of the kernel's noise, for latents of ``z_shape``."""
        return z_shape

    def noise_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the noised part: of residuals, scores and network outputs."""
        return z_shape

    def lower(self, u: State) -> Clean:
        """State to its data part."""
        return u

    def replace_data(self, u: State, z0: Clean) -> State:
        """The state with another data part."""
        return jnp.concatenate([z0, u[..., z0.shape[-1] :]], axis=-1)

    def noised(self, u: State) -> Noise:
        """State to the components that are driven by dw."""
        return u

    def embed(self, noise: Noise) -> State:
        """The noised part in a state that is zero elsewhere: ``noised`` transposed."""
        return noise

    def lift(self, z0: Clean, t: Time, eps: Noise | None) -> Lifted:
        """A state at time t with ``z0`` itself as its data part: for likelihoods by
        the probability flow. Training doesn't need it (``perturb``).

        Args:
          eps: standard normal noise for the components beyond the data; an augmented
            process raises ValueError without it, others ignore it.
        """
        del eps
        return Lifted(z0, jnp.zeros_like(t))

    @property
    def noises_data(self) -> bool:
        """Whether dw enters the data part: whether its reverse drift has the score."""
        return True

    @property
    @abc.abstractmethod
    def data_var(self) -> float:
        """Variance of z_0 for Normal data."""

    @abc.abstractmethod
    def drift(self, u: State, t: Time) -> State:
        """f(u, t) of Eq. (1)."""

    @abc.abstractmethod
    def g2(self, t: Time) -> Time:
        """Squared diffusion G(t)^2 on the noised part."""

    @abc.abstractmethod
    def mean(self, z0: Clean, t: Time) -> State:
        """Mean of p(u_t | z_0), Eq. (2)."""

    @abc.abstractmethod
    def scale_noise(self, eps: State, t: Time) -> State:
        """L_t eps of Eq. (2)."""

    @abc.abstractmethod
    def score_scale(self, t: Time) -> Time:
        """l_t of Eq. (3)."""

    @abc.abstractmethod
    def log_snr(self, t: Time) -> Time:
        """-log nu, with nu the variance of z_0's best unbiased estimate from u_t
        alone; log(alpha^2 / sigma^2) for scalar processes."""

    def target_spread(self, t: Time) -> Time:
        """Standard deviation of what plain denoising score matching, which draws all
        of u_0, adds to the target of Eq. (3), in units of its noise."""
        return jnp.zeros_like(t)

    @abc.abstractmethod
    def estimate(self, u: State, t: Time, residual: Noise) -> Clean:
        """E[z_0 | u_t], as the predictor of Eq. (4) has it."""

    @abc.abstractmethod
    def normal_eps(self, u: State, t: Time) -> Noise:
        """Noise predictor of Normal data: the anchor of the mixed score, Eq. (4)."""

    def base_eps(self, u: State, t: Time) -> Noise:
        """What CLD's published mixed score adds to the network's output: the score of
        noised components alone, their correlation with others left out."""
        return self.normal_eps(u, t)

    @abc.abstractmethod
    def normal_error(self, t: Time) -> Time:
        """e(t) of Eq. (6): what ``normal_eps`` leaves of eps."""

    @abc.abstractmethod
    def probability_flow(self, u: State, t: Time, residual: Noise) -> State:
        """Velocity du/dt of the probability-flow ODE, Eq. (5)."""

    @abc.abstractmethod
    def prior_sample(self, key: PRNGKey, z_shape: tuple[int, ...]) -> State:
        """Draw u_1; ``z_shape`` is the data part's, batch first."""

    @abc.abstractmethod
    def prior_log_prob(self, u: State) -> PerExample:
        """log p(u_1) in nats, summed over dimensions."""

    @abc.abstractmethod
    def bound_constant(self, t_min: float) -> float:
        """Nats per dimension outside the time integral of LSGM Theorem 1,
        when the integral starts at ``t_min``."""

    @abc.abstractmethod
    def normal_bound(self, z0: Clean, t_min: float) -> Clean:
        """What the bound of LSGM Theorem 1, started at ``t_min`` and with the term
        at t = 1, comes to for the predictor ``normal_eps``: nats per dimension."""

    @abc.abstractmethod
    def prior_kl(self, z0: Clean) -> Clean:
        """KL(p(u_1 | z_0) || p(u_1)) per dimension in nats: the term at t = 1
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

    def perturb(self, z0: Clean, t: Time, eps: State) -> State:
        """u_t from data and noise, Eq. (2)."""
        return self.mean(z0, t) + self.scale_noise(eps, t)

    def score(self, eps: Noise, t: Time) -> Noise:
        """Score on the noised part from a prediction of its noise, Eq. (3)."""
        return -expand_to(self.score_scale(t), eps) * eps

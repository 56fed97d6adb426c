r"""The score-based prior: a diffusion process, a network, an objective, a sampler.

With times t drawn from a density r(t), the prior descends, per example,

    P = w(t) / r(t) sum (eps - eps_theta(z_t, t))^2,                       (1)

and bounds the cross-entropy of the encoder's latents, per variable, by

    CE = w_ll(t) / r(t) (eps - eps_theta)^2 + c(t_min) + KL(q(z_1|z_0) || p(z_1)),
                                                                           (2)

w_ll the likelihood weight. The last term is left out in the literature; it makes
(2) a bound (5e-4 nats per dimension for the geometric SDE with var_max = 0.999).

Almost all of the variance of (2) is that of (eps - normal_eps)^2, which no network
changes and whose integral is known: B_N(z0) = ``sde.normal_bound``. With the residual
r = eps_theta - normal_eps, the same expectation is

    CE = B_N(z0) + w_ll(t) / r(t) (r^2 - 2 r (eps - normal_eps)),          (3)

whose noise is in proportion to r: none at all for the Normal prior. This control
variate follows from the mixed score and is not in the literature that we know.

An augmented process (``lsgm.sdes.base``) has a state with more channels than z_0: the
network sees them all, and predicts the noise of the noised part, which has z_0's shape.
In (1) to (3), eps is that part of the kernel's noise.

Two forms of the joint algorithm: (a) one draw of t for both, only the weight differs;
(b) the encoder's own draw of t, from its own sampler, on the same noise; then (1)
sees detached latents, and the network runs once for either, so that the gradient of
one passes through its own call alone.

Source: LSGM, arXiv 2106.05931, Theorem 1, Algorithms 1 to 3.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lsgm import numerics
from lsgm.networks.initialize import Network, initialize
from lsgm.networks.layers import KERNELS, SCALES
from lsgm.numerics import expand_to, sum_per_example
from lsgm.objectives.score_matching import (
    added_residual,
    denoising_noise,
    mixed_residual,
    squared_error,
)
from lsgm.objectives.time_sampling import TimeSampler
from lsgm.objectives.weighting import LikelihoodWeighting, Weighting
from lsgm.priors.base import LatentSamples, PriorTerms
from lsgm.samplers.base import Sampler
from lsgm.samplers.flow_solver import FlowSolver
from lsgm.samplers.likelihood import LogLikelihood, Probes, log_likelihood
from lsgm.sdes.base import SDE
from lsgm.typing import (
    Array,
    Float,
    Latent,
    Params,
    PRNGKey,
    PRNGKeys,
    ResidualFn,
    Time,
)

GROUP = "prior"
# alpha = 3e-7: the network as good as absent.
INACTIVE_LOGIT = -15.0


class ScoreDraws(NamedTuple):
    """Random numbers of one evaluation.

    Attributes:
      eps: noise of the state's shape, [b h w s].
      rho: uniform numbers behind the prior's times, [b].
      rho_encoder: those behind the encoder's own, [b], or None.
      spread: noise of the target, of the noised part's shape, or None.
    """

    eps: Any
    rho: Any
    rho_encoder: Any
    spread: Any = None


class Look(NamedTuple):
    """One call of the network: states, times, residual, squared error per variable,
    and what the layers made known."""

    u: Float[Array, "b h w s"]
    t: Time
    residual: Latent
    error: Latent
    sown: Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScorePrior:
    """p(z0) as the end of a learned reverse diffusion, Eqs. (1) and (2).

    Attributes:
      network: Linen module (u [b h w s], t [b], train) -> eps' [b h w c], s the
        channels of a state of ``sde`` (c, for scalar processes).
      weighting, time_sampler: w and r of Eq. (1).
      encoder_times: the encoder's own time sampler, form (b); None is form (a).
      mixed: predict through the mixed score (``lsgm.objectives.score_matching``).
      base_added: add the base of CLD's published mixed score to the network; instead
        of ``mixed``.
      hybrid: False takes the noisier target of plain denoising score matching for the
        prior's loss, which matters to augmented processes alone.
      mixing_logit_init: where its logits start; -6 leaves the network 0.2 %.
      boundary_term: include the KL of Eq. (2).
      control_variate: estimate the cross-entropy by Eq. (3) instead of Eq. (2).
    """

    groups: ClassVar[tuple[str, ...]] = (GROUP,)
    phases: ClassVar[tuple[tuple[str, ...], ...]] = ((GROUP,),)
    averaged: ClassVar[tuple[str, ...]] = (GROUP,)
    has_bound: ClassVar[bool] = True

    sde: SDE
    network: Network
    weighting: Weighting
    time_sampler: TimeSampler
    sampler: Sampler
    encoder_times: TimeSampler | None = None
    mixed: bool = True
    mixing_logit_init: float = -6.0
    base_added: bool = False
    hybrid: bool = True
    boundary_term: bool = True
    control_variate: bool = True

    def __post_init__(self) -> None:
        self.sampler.check(self.sde)
        if self.mixed and self.base_added:
            raise ValueError(
                "base_added = True: a network is mixed or has a base added, not both; "
                "set mixed = False"
            )

    @property
    def diffusion(self) -> SDE:
        return self.sde

    @property
    def shares_objective(self) -> bool:
        likelihood = isinstance(self.weighting, LikelihoodWeighting)
        return self.encoder_times is None and likelihood and self.hybrid

    def init(
        self, key: PRNGKey, z_shape: tuple[int, int, int]
    ) -> tuple[Params, Params]:
        """Network and mixing logits; all channels active."""
        u, t = jnp.zeros((1, *self.sde.state_shape(z_shape))), jnp.zeros((1,))
        params = {"network": initialize(self.network, key, u, t, train=False)["params"]}
        channels = z_shape[-1]
        if self.mixed:
            params["mixing_logit"] = jnp.full((channels,), self.mixing_logit_init)
        return {GROUP: params}, {GROUP: {"active": jnp.ones((channels,))}}

    def published(self) -> "ScorePrior":
        """Itself with the published estimators: densities of time that need not
        integrate to one, no boundary term, no control variate."""

        def published(times: TimeSampler) -> TimeSampler:
            return dataclasses.replace(times, reference_compatible=True)

        own = self.encoder_times
        return dataclasses.replace(
            self,
            time_sampler=published(self.time_sampler),
            encoder_times=None if own is None else published(own),
            boundary_term=False,
            control_variate=False,
        )

    def drop_channels(
        self, params: Params, mutables: Params, active: Float[Array, " c"]
    ) -> tuple[Params, Params]:
        """Leave all but the ``active`` channels (1, others 0) to the Normal part:
        the network doesn't see the others, and their mixing logits start at -15."""
        own = dict(params[GROUP])
        if self.mixed:
            logit = own["mixing_logit"]
            own["mixing_logit"] = jnp.where(active > 0, logit, INACTIVE_LOGIT)
        carried = {**mutables[GROUP], "active": active}
        return {**params, GROUP: own}, {**mutables, GROUP: carried}

    def draw(
        self,
        key: PRNGKey,
        keys: PRNGKeys,
        indices: Array,
        batch_size: int,
        z_shape: tuple[int, int, int],
    ) -> ScoreDraws:
        """Noise and times of each example; both forms share the noise."""
        noise, first, second, *more = numerics.split_examples(keys, 4 - self.hybrid)
        shared_first, shared_second = jax.random.split(key)
        rho_encoder = None
        if self.encoder_times is not None:
            rho_encoder = self.encoder_times.rho(
                shared_second, second, indices, batch_size
            )
        return ScoreDraws(
            eps=numerics.normal(noise, self.sde.state_shape(z_shape)),
            rho=self.time_sampler.rho(shared_first, first, indices, batch_size),
            rho_encoder=rho_encoder,
            spread=numerics.normal(more[0], self.sde.noise_shape(z_shape))
            if more
            else None,
        )

    def terms(
        self,
        params: Params,
        mutables: Params,
        draws: ScoreDraws,
        z0: Latent,
        *,
        step: Array,
        train: bool,
        dropout_key: PRNGKey | None = None,
        cond: Array | None = None,
    ) -> PriorTerms:
        """Eq. (1) per example and Eq. (2) per variable, in nats."""
        del step, cond

        def look(start: Latent, t: Time, key: PRNGKey | None) -> Look:
            u = self.sde.perturb(start, t, draws.eps)
            residual, sown = self._residual(
                params, mutables, u, t, train=train, dropout_key=key
            )
            error = squared_error(self.sde, draws.eps, residual, u, t)
            return Look(u, t, residual, error, sown)

        t, density = self.time_sampler.times(self.sde, draws.rho)
        if self.encoder_times is None:
            own = for_encoder = look(z0, t, dropout_key)
            density_encoder = density
        else:
            keys: Any = (None, None)
            if train and dropout_key is not None:
                keys = jax.random.split(dropout_key)
            own = look(jax.lax.stop_gradient(z0), t, keys[0])
            t, density_encoder = self.encoder_times.times(self.sde, draws.rho_encoder)
            for_encoder = look(z0, t, keys[1])
        weight = self.weighting(self.sde, own.t) / density
        error = own.error
        if not self.hybrid:
            eps = denoising_noise(self.sde, draws.eps, draws.spread, own.t)
            error = squared_error(self.sde, eps, own.residual, own.u, own.t)
        return PriorTerms(
            losses={GROUP: weight * sum_per_example(error)},
            cross_entropy=self._cross_entropy(
                z0, for_encoder, draws.eps, density_encoder
            ),
            metrics={"mixing": self._mixing(params)} if self.mixed else {},
            kernels={GROUP: own.sown.get(KERNELS, {})},
            scales={GROUP: own.sown.get(SCALES, {})},
        )

    def residual_fn(
        self, params: Params, mutables: Params, cond: Array | None = None
    ) -> ResidualFn:
        """(u, t) -> r as samplers and likelihoods take it: one network call each.

        Args:
          cond: labels, which this prior ignores.
        """
        del cond
        return lambda u, t: self._residual(params, mutables, u, t, train=False)[0]

    def log_prob(
        self,
        params: Params,
        mutables: Params,
        z0: Latent,
        *,
        flow: FlowSolver,
        probes: Probes,
        cond: Array | None = None,
        eps: Latent | None = None,
    ) -> LogLikelihood:
        """The density of what the probability flow, run to ``flow.t_end``, makes; one
        draw of a lower bound of it where the process is augmented."""
        residual_fn = self.residual_fn(params, mutables, cond)
        return log_likelihood(flow, self.sde, residual_fn, z0, probes, eps)

    def sample(
        self,
        params: Params,
        mutables: Params,
        key: PRNGKey,
        shape: tuple[int, int, int, int],
        *,
        temperature: float = 1.0,
        num_path: int = 0,
        cond: Array | None = None,
    ) -> LatentSamples:
        """Draw u_1 and run the sampler; calls are the sampler's count."""
        start_key, sampler_key = jax.random.split(key)
        u1 = temperature * self.sde.prior_sample(start_key, shape)
        residual_fn = self.residual_fn(params, mutables, cond)
        done = self.sampler(sampler_key, self.sde, residual_fn, u1, num_path=num_path)
        path = None if done.path is None else jax.vmap(self.sde.lower)(done.path)
        return LatentSamples(self.sde.lower(done.u), done.nfe, path)

    def _residual(
        self,
        params: Params,
        mutables: Params,
        u: Float[Array, "b h w s"],
        t: Time,
        *,
        train: bool,
        dropout_key: PRNGKey | None = None,
    ) -> tuple[Latent, Params]:
        own = params[GROUP]
        # A state is blocks of the latent's channels.
        active = mutables[GROUP]["active"]
        active = jnp.tile(active, u.shape[-1] // active.size)[None, None, None]
        network: Any = self.network
        eps_prime, sown = network.apply(
            {"params": own["network"]},
            u * active,
            t,
            train=train,
            rngs={"dropout": dropout_key} if train else {},
            mutable=[KERNELS, SCALES],
        )
        expected = self.sde.noised(u).shape
        if eps_prime.shape != expected:
            raise ValueError(
                f"network: its output for states {u.shape} has the shape "
                f"{eps_prime.shape}, and the noise of {self.sde} has {expected}: "
                f"set network.out_channels = {expected[-1]}"
            )
        eps_prime = eps_prime.astype(u.dtype)
        if self.base_added:
            return added_residual(self.sde, eps_prime, u, t), sown
        logit = own["mixing_logit"] if self.mixed else None
        return mixed_residual(self.sde, eps_prime, u, t, logit), sown

    def _cross_entropy(
        self,
        z0: Latent,
        look: Look,
        eps: Float[Array, "b h w s"],
        density: Time,
    ) -> Latent:
        """Eq. (3), or Eq. (2) without a control variate."""
        t_min = (self.encoder_times or self.time_sampler).t_min
        u, t, error = look.u, look.t, look.error
        if self.control_variate:
            error -= squared_error(self.sde, eps, jnp.zeros_like(error), u, t)
        weight = LikelihoodWeighting()(self.sde, t) / density
        integral = expand_to(weight, error) * error
        if self.control_variate:
            rest = self.sde.normal_bound(z0, t_min) - self.sde.prior_kl(z0)
        else:
            rest = self.sde.bound_constant(t_min)
        kl = self.sde.prior_kl(z0) if self.boundary_term else 0.0
        return integral + rest + kl

    def _mixing(self, params: Params) -> Array:
        return jnp.mean(jax.nn.sigmoid(params[GROUP]["mixing_logit"]))

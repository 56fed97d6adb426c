r"""The denoising diffusion GAN: a few large steps, each undone by a generator.

Pairs (x_{k-1}, x_k) of the chain of data (``lsgm.sdes.chain``) are real. Fakes have the
same x_k, and with a guess x_0' = G(x_k, k, z), z ~ N(0, I),

    x_{k-1}' ~ q(x_{k-1} | x_k, x_0').                                     (1)

A discriminator judges pairs (``lsgm.objectives.adversarial``). It moves first, at a
level k drawn for each example; then the generator, on the same batch with new draws.
No gradient of the one's loss reaches the other.

The prior has no density: its last step is the image of z under G. So it bounds nothing,
trains no encoder, and reports no likelihood. On latents of a frozen VAE it is a sampler
of T calls beside a prior that has a bound. Such latents are standardised,

    x_0 = (z_0 - m) / s   per channel,                                     (2)

where m and s are parameters of a group of their own, which descend the negative
log-density of N(m, s^2) at z_0, so that they become its mean and deviation.

Source: Denoising diffusion GANs, arXiv 2112.07804, sections 3 and 4. (2) is ours.
"""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from lsgm import numerics
from lsgm.networks.initialize import initialize
from lsgm.objectives.adversarial import LazyR1, discriminator_loss, generator_loss
from lsgm.priors.base import LatentSamples, PriorTerms
from lsgm.samplers.base import Samples
from lsgm.samplers.flow_solver import FlowSolver
from lsgm.samplers.likelihood import LogLikelihood, Probes
from lsgm.samplers.posterior import sample_chain
from lsgm.sdes.chain import Chain
from lsgm.typing import Array, Latent, Params, PerExample, PRNGKey, PRNGKeys

GENERATOR, DISCRIMINATOR, SCALE = "generator", "discriminator", "standardisation"


class GanDraws(NamedTuple):
    """Random numbers of one evaluation.

    Attributes:
      level: k of each example, from 1 to T, int32 [b].
      eps, eps_step: noise of the real pair, [b h w c].
      eps_fake: noise of Eq. (1), [b h w c].
      latent: z, [b n].
    """

    level: Any
    eps: Any
    eps_step: Any
    eps_fake: Any
    latent: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenoisingGAN:
    """p(z0) as the end of a chain of T guesses, Eq. (1); T network calls a sample.

    Attributes:
      chain: the forward steps.
      generator: Linen module (x_k [b h w c], k [b], z [b n], train) -> x_0, with n its
        field ``latent_dim``.
      discriminator: Linen module (x_{k-1}, x_k, k, train) -> logits [b].
      r1: penalty of the discriminator's gradient.
      standardise: Eq. (2); for latents, whose scale is the encoder's.
    """

    has_bound: ClassVar[bool] = False
    diffusion: ClassVar[None] = None
    shares_objective: ClassVar[bool] = False

    chain: Chain
    generator: Any
    discriminator: Any
    r1: LazyR1
    standardise: bool = False

    @property
    def groups(self) -> tuple[str, ...]:
        scale = (SCALE,) if self.standardise else ()
        return (*scale, DISCRIMINATOR, GENERATOR)

    @property
    def phases(self) -> tuple[tuple[str, ...], ...]:
        return self.groups[:-1], (GENERATOR,)

    @property
    def averaged(self) -> tuple[str, ...]:
        """What samples are made with; the discriminator makes none."""
        return tuple(group for group in self.groups if group != DISCRIMINATOR)

    def published(self) -> "DenoisingGAN":
        """Itself: the published penalty is a ``LazyR1`` with another gamma."""
        return self

    def init(
        self, key: PRNGKey, z_shape: tuple[int, int, int]
    ) -> tuple[Params, Params]:
        """Both networks, and where latents are standardised m = 0, s = 1."""
        first, second = jax.random.split(key)
        x, level = jnp.zeros((1, *z_shape)), jnp.ones((1,), jnp.int32)
        z = jnp.zeros((1, self.generator.latent_dim))
        generator = initialize(self.generator, first, x, level, z, train=False)
        judge = initialize(self.discriminator, second, x, x, level, train=False)
        params = {
            GENERATOR: generator["params"],
            DISCRIMINATOR: judge["params"],
        }
        if self.standardise:
            zeros = jnp.zeros(z_shape[-1:])
            params[SCALE] = {"mean": zeros, "log_std": jnp.copy(zeros)}
        return params, {group: {} for group in params}

    def draw(
        self,
        key: PRNGKey,
        keys: PRNGKeys,
        indices: Array,
        batch_size: int,
        z_shape: tuple[int, int, int],
    ) -> GanDraws:
        """A level, uniform and independent, and noise of each example."""
        del key, indices, batch_size
        levels, *noise, latent = numerics.split_examples(keys, 5)
        eps, eps_step, eps_fake = (numerics.normal(k, z_shape) for k in noise)
        last = self.chain.num_steps + 1
        return GanDraws(
            level=jax.vmap(lambda k: jax.random.randint(k, (), 1, last, jnp.int32))(
                levels
            ),
            eps=eps,
            eps_step=eps_step,
            eps_fake=eps_fake,
            latent=numerics.normal(latent, (self.generator.latent_dim,)),
        )

    def terms(
        self,
        params: Params,
        mutables: Params,
        draws: GanDraws,
        z0: Latent,
        *,
        step: Array,
        train: bool,
        dropout_key: PRNGKey | None = None,
        cond: Array | None = None,
    ) -> PriorTerms:
        """Both players' losses; to log, how often the discriminator is right."""
        del mutables, cond
        x0 = self._standard(params, jax.lax.stop_gradient(z0))
        level = draws.level
        real = self.chain.pair(x0, level, draws.eps, draws.eps_step)
        guess = self._guess(
            params, real.noisier, level, draws.latent, train, dropout_key
        )
        fake = self.chain.posterior(guess, real.noisier, level, draws.eps_fake)

        def judge(own: Params, cleaner: Latent) -> PerExample:
            return self._judge(own, cleaner, real.noisier, level, train, dropout_key)

        critic = functools.partial(judge, params[DISCRIMINATOR])
        logits = critic(real.cleaner), critic(jax.lax.stop_gradient(fake))
        penalty = self.r1(critic, real.cleaner, step)
        # Held, or its gradient would be computed in the discriminator's phase too.
        held = jax.lax.stop_gradient(params[DISCRIMINATOR])
        losses = {
            DISCRIMINATOR: discriminator_loss(*logits) + penalty,
            GENERATOR: generator_loss(judge(held, fake)),
        }
        if self.standardise:
            losses[SCALE] = self._scale_loss(params, jax.lax.stop_gradient(z0))
        return PriorTerms(
            losses=losses,
            cross_entropy=None,
            metrics={"r1": jnp.mean(penalty)} | self._accuracies(*logits, level),
            kernels={},
            scales={},
        )

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
        """None exists.

        Raises:
          ValueError: always.
        """
        raise ValueError(
            "log_prob of a DenoisingGAN: its last step has no density; take that of "
            "the score prior that the same latents were trained with"
        )

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
        """From noise through all T levels."""
        del mutables, cond
        start_key, key = jax.random.split(key)
        start = temperature * jax.random.normal(start_key, shape)
        done = self._run(params, key, start, self.chain.num_steps, num_path)
        path = done.path
        if path is not None:
            path = jax.vmap(lambda x: self._latents(params, x))(path)
        return LatentSamples(self._latents(params, done.u), done.nfe, path)

    def resample(
        self, params: Params, key: PRNGKey, z0: Latent, level: int
    ) -> LatentSamples:
        """Other latents that share with ``z0`` what ``level`` steps of noise leave of
        it; ``level`` network calls. At level T little is left.

        Raises:
          ValueError: the chain has no such level.
        """
        if not 1 <= level <= self.chain.num_steps:
            raise ValueError(
                f"level = {level}: the chain has levels 1 to {self.chain.num_steps}"
            )
        start_key, key = jax.random.split(key)
        levels = jnp.full(z0.shape[:1], level, jnp.int32)
        eps = jax.random.normal(start_key, z0.shape)
        start = self.chain.diffuse(self._standard(params, z0), levels, eps)
        done = self._run(params, key, start, level, 0)
        return LatentSamples(self._latents(params, done.u), done.nfe)

    def guess(
        self, params: Params, noisier: Latent, level: Array, latent: Array
    ) -> Latent:
        """x_0' of standardised x_k [b h w c] at levels [b], for z [b n]."""
        return self._guess(params, noisier, level, latent, False, None)

    def _run(
        self, params: Params, key: PRNGKey, start: Latent, level: int, num_path: int
    ) -> Samples:
        first, second = jax.random.split(key)
        size = (level, start.shape[0], self.generator.latent_dim)
        return sample_chain(
            self.chain,
            functools.partial(self.guess, params),
            start,
            jax.random.normal(first, size),
            jax.random.normal(second, (level, *start.shape)),
            num_path=num_path,
        )

    def _guess(
        self,
        params: Params,
        noisier: Latent,
        level: Array,
        latent: Array,
        train: bool,
        dropout_key: PRNGKey | None,
    ) -> Latent:
        return self.generator.apply(
            {"params": params[GENERATOR]},
            noisier,
            level,
            latent,
            train=train,
            rngs={"dropout": dropout_key} if train else {},
        )

    def _judge(
        self,
        own: Params,
        cleaner: Latent,
        noisier: Latent,
        level: Array,
        train: bool,
        dropout_key: PRNGKey | None,
    ) -> PerExample:
        return self.discriminator.apply(
            {"params": own},
            cleaner,
            noisier,
            level,
            train=train,
            rngs={"dropout": dropout_key} if train else {},
        )

    def _accuracies(
        self, real: PerExample, fake: PerExample, level: Array
    ) -> dict[str, Array]:
        """How often the discriminator is right, by level; a half where a batch has no
        example of one."""
        right = 0.5 * ((real > 0).astype(real.dtype) + (fake < 0).astype(fake.dtype))
        found = {}
        for k in range(1, self.chain.num_steps + 1):
            here = (level == k).astype(right.dtype)
            num = jnp.sum(here)
            mean = jnp.sum(here * right) / jnp.maximum(num, 1.0)
            found[f"accuracy_level_{k}"] = jnp.where(num > 0, mean, 0.5)
        return found

    def _standard(self, params: Params, z0: Latent) -> Latent:
        """Eq. (2), with m and s held."""
        if not self.standardise:
            return z0
        mean, std = self._moments(jax.lax.stop_gradient(params))
        return (z0 - mean) / std

    def _latents(self, params: Params, x0: Latent) -> Latent:
        """The inverse of Eq. (2)."""
        if not self.standardise:
            return x0
        mean, std = self._moments(params)
        return mean + std * x0

    def _moments(self, params: Params) -> tuple[Array, Array]:
        own = params[SCALE]
        return own["mean"][None, None, None], jnp.exp(own["log_std"])[None, None, None]

    def _scale_loss(self, params: Params, z0: Latent) -> PerExample:
        """-log N(z_0; m, s^2) but for its constant, per position, in nats."""
        mean, std = self._moments(params)
        neg_log_prob = 0.5 * ((z0 - mean) / std) ** 2 + jnp.log(std)
        return numerics.sum_per_example(neg_log_prob) / (z0.shape[1] * z0.shape[2])

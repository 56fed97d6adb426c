"""The standard normal prior: a stage with it is a VAE pre-training."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lsgm.numerics import sum_per_example
from lsgm.priors.base import LatentSamples, PriorTerms
from lsgm.samplers.flow_solver import FlowSolver
from lsgm.samplers.likelihood import LogLikelihood, Probes
from lsgm.sdes.base import LOG_2PI
from lsgm.typing import Array, Latent, Params, PRNGKey, PRNGKeys


def neg_log_prob(z: Latent) -> Latent:
    """-log N(z; 0, I) per variable in nats."""
    return 0.5 * (z**2 + LOG_2PI)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StandardNormal:
    """p(z0) = N(0, I): no parameters, no network calls."""

    groups: ClassVar[tuple[str, ...]] = ()
    phases: ClassVar[tuple[tuple[str, ...], ...]] = ()
    averaged: ClassVar[tuple[str, ...]] = ()
    has_bound: ClassVar[bool] = True
    diffusion: ClassVar[None] = None
    shares_objective: ClassVar[bool] = False

    def published(self) -> "StandardNormal":
        """Itself: the published code agrees."""
        return self

    def init(
        self, key: PRNGKey, z_shape: tuple[int, int, int]
    ) -> tuple[Params, Params]:
        """Nothing to learn, nothing to carry."""
        del key, z_shape
        return {}, {}

    def draw(
        self,
        key: PRNGKey,
        keys: PRNGKeys,
        indices: Array,
        batch_size: int,
        z_shape: tuple[int, int, int],
    ) -> tuple[()]:
        """Nothing random: its cross-entropy is in closed form."""
        del key, keys, indices, batch_size, z_shape
        return ()

    def terms(
        self,
        params: Params,
        mutables: Params,
        draws: tuple[()],
        z0: Latent,
        *,
        step: Array,
        train: bool,
        dropout_key: PRNGKey | None = None,
        cond: Array | None = None,
    ) -> PriorTerms:
        """-log N(z0; 0, I) per variable in nats."""
        del params, mutables, draws, step, train, dropout_key, cond
        return PriorTerms(
            losses={},
            cross_entropy=neg_log_prob(z0),
            metrics={},
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
        """Exact, and no network call; nothing is solved."""
        del params, mutables, flow, probes, cond, eps
        log_prob = -sum_per_example(neg_log_prob(z0))
        return LogLikelihood(log_prob, z0, jnp.zeros((), jnp.int32))

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
        """N(0, temperature^2); a path, if asked for, stays where it is."""
        del params, mutables, cond
        z0 = temperature * jax.random.normal(key, shape)
        path = jnp.broadcast_to(z0[None], (num_path, *shape)) if num_path else None
        return LatentSamples(z0, jnp.zeros((), jnp.int32), path)

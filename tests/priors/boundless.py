"""Priors without a bound: one step from noise to latents, trained by moments.

With z = shift + exp(log_gain) eps per channel, f(z) = (z, z^2) averaged over pixels and
d = E f(z0) - E f(z), the generator descends |d|^2. Adversarially, a critic w descends
-w d + |w|^2 / 2, whose minimum is w = d, and the generator -w E f(z).
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lsgm import numerics
from lsgm.priors.base import LatentSamples, PriorTerms


@dataclasses.dataclass(frozen=True, kw_only=True)
class MomentMatching:
    """The generator alone."""

    groups: ClassVar = ("generator",)
    phases: ClassVar = (("generator",),)
    averaged: ClassVar = ("generator",)
    has_bound: ClassVar = False
    diffusion: ClassVar = None
    shares_objective: ClassVar = False

    def published(self):
        return self

    def init(self, key, z_shape):
        channels = z_shape[-1]
        own = {"shift": jnp.zeros(channels), "log_gain": jnp.zeros(channels)}
        return {"generator": own}, {"generator": {}}

    def draw(self, key, keys, indices, batch_size, z_shape):
        return numerics.normal(keys, z_shape)

    def terms(
        self,
        params,
        mutables,
        draws,
        z0,
        *,
        step,
        train,
        dropout_key=None,
        cond=None,
    ):
        losses = self.losses(params, moments(z0), moments(generate(params, draws)))
        return PriorTerms(
            losses={g: jnp.full(z0.shape[:1], loss) for g, loss in losses.items()},
            cross_entropy=None,
            metrics={"seen_step": step.astype(jnp.float32)}
            | (
                {}
                if cond is None
                else {"seen_label": jnp.mean(cond.astype(jnp.float32))}
            ),
            kernels={},
            scales={},
        )

    def losses(self, params, real, fake):
        return {"generator": jnp.sum((real - fake) ** 2)}

    def sample(
        self, params, mutables, key, shape, *, temperature=1.0, num_path=0, cond=None
    ):
        eps = temperature * jax.random.normal(key, shape)
        return LatentSamples(generate(params, eps), jnp.ones((), jnp.int32))

    def log_prob(self, params, mutables, z0, *, flow, probes, cond=None):
        raise AssertionError("nobody may ask a prior without a bound")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversarial(MomentMatching):
    """The critic moves first; no average of it is kept."""

    groups: ClassVar = ("critic", "generator")
    phases: ClassVar = (("critic",), ("generator",))

    def init(self, key, z_shape):
        params, mutables = super().init(key, z_shape)
        critic = {"w": jnp.zeros((2, z_shape[-1]))}
        return {**params, "critic": critic}, {**mutables, "critic": {}}

    def losses(self, params, real, fake):
        w = params["critic"]["w"]
        critic = jnp.sum(0.5 * w**2 - w * (real - fake))
        return {"critic": critic, "generator": -jnp.sum(w * fake)}


def generate(params, eps):
    own = params["generator"]
    gain = jnp.exp(own["log_gain"])
    return own["shift"][None, None, None] + gain[None, None, None] * eps


def moments(z):
    """f over pixels and batch, [2 c]."""
    return jnp.stack([z.mean((0, 1, 2)), (z**2).mean((0, 1, 2))])

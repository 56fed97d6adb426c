"""Pieces of an experiment that go wrong once, for tests of what becomes of a run."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from lsgm.priors.score import ScorePrior
from lsgm.training.optim import Adam


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpoiledScore(ScorePrior):
    """A score prior whose loss, or whose gradient alone, is NaN at one step."""

    at: int
    what: Literal["loss", "gradient"]

    def terms(self, params, mutables, draws, z0, *, step, **rest):
        found = super().terms(params, mutables, draws, z0, step=step, **rest)
        factor = _nan_gradient(found.losses["prior"])
        if self.what == "loss":
            factor = jnp.full_like(factor, jnp.nan)
        spoiled = jnp.where(step == self.at, factor, 0.0)
        return found._replace(losses={"prior": found.losses["prior"] + spoiled})


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpoiledAdam(Adam):
    """Adam whose update number ``at``, counted from 0, is NaN."""

    at: int

    def build(self) -> optax.GradientTransformation:
        def spoil(updates, state, params=None):
            bad = jnp.where(state == self.at, jnp.nan, 0.0)
            return jax.tree.map(lambda u: u + bad.astype(u.dtype), updates), state + 1

        count = optax.GradientTransformation(
            lambda params: jnp.zeros((), jnp.int32), spoil
        )
        return optax.chain(super().build(), count)


def _nan_gradient(x):
    """0, whose derivative is 0 / 0."""
    zero = x - jax.lax.stop_gradient(x)
    return jnp.sqrt(zero * zero)

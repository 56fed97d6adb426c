"""Pieces of an experiment that go wrong once, for tests of what becomes of a run."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from lsgm.priors.score import ScorePrior


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpoiledScore(ScorePrior):
    """A score prior whose loss, or whose gradient alone, is NaN at one step."""

    at: int
    what: Literal["loss", "gradient"]

    def terms(self, params, mutables, draws, z0, *, step, **rest):
        found = super().terms(params, mutables, draws, z0, step=step, **rest)
        loss, here = found.losses["prior"], step == self.at
        if self.what == "loss":
            spoiled = jnp.where(here, jnp.nan, 0.0)
        else:
            spoiled = _nan_gradient(loss, here)
        return found._replace(losses={"prior": loss + spoiled})


def _nan_gradient(x, here):
    """0, whose derivative is 0 / 0 where ``here``."""
    zero = jnp.where(here, x - jax.lax.stop_gradient(x), 1.0)
    return jnp.sqrt(zero * zero) - jax.lax.stop_gradient(jnp.abs(zero))

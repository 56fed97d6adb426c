"""A sampler whose samples depend on how many are drawn at once."""

import dataclasses

import jax.numpy as jnp

from lsgm.samplers.base import Sampler, Samples


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crowd(Sampler):
    """As adaptive solvers do, it looks at all of a batch, but plainly."""

    def __call__(self, key, sde, residual_fn, u1, *, num_path=0) -> Samples:
        return Samples(u1 + 0.1 * u1.shape[0] * jnp.mean(u1), jnp.int32(0))

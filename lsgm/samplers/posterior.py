r"""Sampling a chain of large steps: guess the data, draw from the posterior, repeat.

From x_k, k = K .. 1, with a guess x_0' = G(x_k, k, z) by the network,

    x_{k-1} ~ q(x_{k-1} | x_k, x_0'),                                      (1)

which at k = 1 is x_0' itself: no noise is added at the end. K network calls. From noise
K is the chain's T; from x_K of data, K < T resamples what the first K steps destroy.

Source: Denoising diffusion GANs, arXiv 2112.07804, Eq. 4.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.samplers.base import Samples
from lsgm.sdes.chain import Chain
from lsgm.typing import Array, Denoise, Float, State


def sample_chain(
    chain: Chain,
    denoise: Denoise,
    start: State,
    latents: Float[Array, "k b n"],
    noise: Float[Array, "k b *d"],
    *,
    num_path: int = 0,
) -> Samples:
    """Run Eq. (1) from level K down to the data.

    Args:
      denoise: one network call.
      start: x_K.
      latents: z of each level, level 1 first, so that there are K of them.
      noise: of each level's posterior, standard normal, as ``latents``; that of level 1
        counts for nothing.
      num_path: how many states to keep along the way, ends included; 0 keeps none.

    Raises:
      ValueError: more levels than the chain has, or none.
    """
    num = latents.shape[0]
    if not 1 <= num <= chain.num_steps:
        raise ValueError(
            f"latents for {num} levels: the chain has levels 1 to {chain.num_steps}"
        )

    def step(
        carry: tuple[State, Array], row: tuple[Array, Array, Array]
    ) -> tuple[tuple[State, Array], State]:
        (x, nfe), (k, z, eps) = carry, row
        level = jnp.full(x.shape[:1], k)
        x = chain.posterior(denoise(x, level, z), x, level, eps)
        return (x, nfe + 1), x

    levels = jnp.arange(1, num + 1, dtype=jnp.int32)
    (x, nfe), visited = jax.lax.scan(
        step, (start, jnp.zeros((), jnp.int32)), (levels, latents, noise), reverse=True
    )
    path = None
    if num_path:
        # ``visited`` is by level: x_0 first.
        states = jnp.concatenate([start[None], visited[::-1]])
        path = states[np.round(np.linspace(0, num, num_path)).astype(np.int64)]
    return Samples(u=x, nfe=nfe, path=path)

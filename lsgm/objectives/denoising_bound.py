r"""A bound on -log p(x_0) for a generator whose last step has noise.

A denoising GAN has no density, because its last step is the image of z under G. Given
a variance s^2 > 0 there, p(x_0 | x_1, z) = N(G(x_1, z), s^2), it has one: another model
than the one that was trained. With x_1 .. x_T from the chain and K draws z_j, per
example

    -log p(x_0) <= sum_{k=2}^T E[-log mean_j r_kj]
                   + E[-log mean_j N(x_0; G(x_1, z_j, 1), s^2)]
                   + KL(q(x_T | x_0) | N(0, I)),                           (1)
    -log r_kj = w_k |d|^2 + sqrt(2 w_k) eps . d,   d = x_0 - G(x_k, z_j, k),
    w_k = c0_k^2 / (2 v_k),                                                (2)

eps the noise of x_{k-1} given x_k and x_0: r_kj is the density of x_{k-1} under guess j
over that under the truth. At K = 1, eps has no part in the mean, and is left out. More
draws tighten (1) and leave it a bound, since -log is convex. It is loose where the
guess depends on z, and exact in its levels where it does not.

The s^2 that makes (1) least at K = 1 is the mean of (x_0 - G(x_1, z, 1))^2. Fit it on
other data than are bounded.

Source: ours, from the variational bound of DDPM, arXiv 2006.11239, and importance
weighting, arXiv 1509.00519.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.numerics import sum_per_example
from lsgm.sdes.base import LOG_2PI
from lsgm.sdes.chain import Chain
from lsgm.typing import Array, Clean, Denoise, Float, PerExample, State


class BoundDraws(NamedTuple):
    """Random numbers of Eq. (1), of all levels, level 1 first.

    Attributes:
      eps: of x_k given x_0, [t b *d].
      eps_step: of x_{k-1} given x_k and x_0, [t b *d].
      latents: z_j, [t j b n].
    """

    eps: Any
    eps_step: Any
    latents: Any


def level_weights(chain: Chain) -> Float[np.ndarray, " t"]:
    """w_k of Eq. (2) for k = 2 .. T, in float64."""
    table = chain.table
    return table.c0[1:] ** 2 / (2 * table.var[1:])


def guess_errors(
    chain: Chain, denoise: Denoise, x0: Clean, draws: BoundDraws, level: int
) -> Float[Array, "j b *d"]:
    """d of Eq. (2) for each z_j at one level."""
    levels = jnp.full(x0.shape[:1], level, jnp.int32)
    noisier = chain.diffuse(x0, levels, draws.eps[level - 1])
    own = draws.latents[level - 1]
    return jax.lax.map(lambda z: x0 - denoise(noisier, levels, z), own)


def neg_log_prob_bound(
    chain: Chain, denoise: Denoise, x0: Clean, draws: BoundDraws, last_var: Array
) -> PerExample:
    """One draw of the right side of Eq. (1), in nats.

    Args:
      denoise: (x_k, k, z) -> a guess of x_0; T K calls of it.
      last_var: s^2, a scalar.
    """
    errors = guess_errors(chain, denoise, x0, draws, 1)
    log_density = -0.5 * (errors**2 / last_var + jnp.log(last_var) + LOG_2PI)
    total = _neg_log_mean(jax.vmap(sum_per_example)(log_density))
    for k, weight in enumerate(level_weights(chain), start=2):
        errors = guess_errors(chain, denoise, x0, draws, k)
        log_ratio = -weight * jax.vmap(sum_per_example)(errors**2)
        if errors.shape[0] > 1:
            along = errors * draws.eps_step[k - 1][None]
            log_ratio -= np.sqrt(2 * weight) * jax.vmap(sum_per_example)(along)
        total += _neg_log_mean(log_ratio)
    return total + last_level_kl(chain, x0)


def last_level_kl(chain: Chain, x0: Clean) -> PerExample:
    """KL(q(x_T | x_0) | N(0, I)) in nats."""
    abar = float(chain.table.abar[-1])
    return sum_per_example(0.5 * (abar * x0**2 - abar - np.log1p(-abar)))


def _neg_log_mean(logs: Float[Array, "j b"]) -> PerExample:
    return np.log(logs.shape[0]) - jax.scipy.special.logsumexp(logs, axis=0)


def best_last_var(
    chain: Chain, denoise: Denoise, x0: State, draws: BoundDraws
) -> Array:
    """The s^2 that makes Eq. (1) least at K = 1 on these examples."""
    return jnp.mean(guess_errors(chain, denoise, x0, draws, 1) ** 2)

"""Diagonal Normal posterior from raw network outputs, one reparameterised draw.

    mean = 5 tanh(m / 5),   log std = a tanh(s / a),                       (1)
    u = mean + std eta,                                                    (2)
    log q(u) = -eta^2 / 2 - log(2 pi) / 2 - log std                        (3)

for raw outputs (m, s) and standard normal eta. The soft clamps bound the KL.
Source: LSGM, arXiv 2106.05931, appendix G, and its published models.
"""

import math

import jax.numpy as jnp

from lsgm.numerics import soft_clamp
from lsgm.typing import Array, Float, Latent

MEAN_CLAMP = 5.0


def draw_posterior(
    raw: Float[Array, "b h w p"], noise: Latent, log_std_clamp: float
) -> tuple[Latent, Latent]:
    """Draw u and its log-density per variable in nats, Eqs. (1) to (3), in fp32.

    Args:
      raw: [b h w 2c], means first.
      noise: standard normal, [b h w c].
    """
    mean, log_std = jnp.split(raw.astype(jnp.float32), 2, axis=-1)
    mean = soft_clamp(mean, MEAN_CLAMP)
    log_std = soft_clamp(log_std, log_std_clamp)
    log_q = -0.5 * noise**2 - 0.5 * math.log(2 * math.pi) - log_std
    return mean + jnp.exp(log_std) * noise, log_q

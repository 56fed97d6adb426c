r"""Features of the diffusion time, in fp32 whatever the network computes in.

    positional:  [sin(s t w_k), cos(s t w_k)],  w_k = 10000^(-k / (n - 1)),    (1)
    Fourier:     [sin(2 pi w_k tau), cos(2 pi w_k tau)],  w_k ~ N(0, s^2),     (2)

for k = 0 .. n - 1, with s the ``scale``, 2 n the ``dim``, and tau = t or log t.
The frequencies of (2) are drawn once and never trained. A high s lets the network
tell apart times that differ by 1/s: LSGM uses (1) with s = 1000.

Sources: (1) Vaswani et al., arXiv 1706.03762; (2) Tancik et al., arXiv 2006.10739,
with log t as in Song et al., arXiv 2011.13456 and CLD, arXiv 2112.07068.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lsgm.typing import Array, Float, Time

MAX_PERIOD = 10_000.0


class Positional(nn.Module):
    """Sinusoids of geometrically spaced frequencies, Eq. (1).

    Raises:
      ValueError: ``dim`` is odd or below 4.
    """

    dim: int = 128
    scale: float = 1000.0

    def __post_init__(self):
        super().__post_init__()
        check_dim(self.dim, least=4)

    def __call__(self, t: Time) -> Float[Array, "b n"]:
        num = self.dim // 2
        rate = -math.log(MAX_PERIOD) / (num - 1)
        frequencies = jnp.exp(rate * jnp.arange(num, dtype=jnp.float32))
        return sin_cos(self.scale * t.astype(jnp.float32), frequencies)


class Fourier(nn.Module):
    """Sinusoids of random frequencies, Eq. (2), which are parameters without gradient.

    Attributes:
      log_time: take log t for tau; t must then be positive.

    Raises:
      ValueError: ``dim`` is odd or below 2.
    """

    dim: int = 128
    scale: float = 16.0
    log_time: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_dim(self.dim, least=2)

    @nn.compact
    def __call__(self, t: Time) -> Float[Array, "b n"]:
        init = nn.initializers.normal(self.scale)
        frequencies = self.param("frequencies", init, (self.dim // 2,), jnp.float32)
        tau = jnp.log(t) if self.log_time else t
        angular = 2 * math.pi * jax.lax.stop_gradient(frequencies)
        return sin_cos(tau.astype(jnp.float32), angular)


def sin_cos(phase: Time, frequencies: Float[Array, " n"]) -> Float[Array, "b m"]:
    """Sines, then cosines, of ``phase`` times each frequency."""
    angle = phase[:, None] * frequencies[None]
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def check_dim(dim: int, least: int) -> None:
    """Refuse a number of features that does not split into sines and cosines."""
    if dim < least or dim % 2:
        raise ValueError(f"dim = {dim!r}: expected an even number from {least} on")

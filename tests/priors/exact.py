"""Networks without parameters, whose predictions are known."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from lsgm.numerics import expand_to


class GaussianNetwork(nn.Module):
    """Predicts the noise in Gaussian data of one variance per channel.

    The mixed score gives a network's deviation from Normal data the weight a: with
    ``mixing`` = a the mixture is exact.
    """

    sde: Any
    variances: tuple[float, ...]
    mixing: float = 1.0

    def __call__(self, u, t, *, train):
        v = jnp.asarray(self.variances, u.dtype)[None, None, None]
        total = expand_to(self.sde.alpha(t), u) ** 2 * v + expand_to(self.sde.var(t), u)
        eps_hat = expand_to(jnp.sqrt(self.sde.var(t)), u) * u / total
        normal = self.sde.normal_eps(u, t)
        return normal + (eps_hat - normal) / self.mixing


class DropoutNetwork(nn.Module):
    """Drops half of its input in training."""

    @nn.compact
    def __call__(self, u, t, *, train):
        return nn.Dropout(0.5, deterministic=not train)(u)


class AffineNetwork(nn.Module):
    """One gain and one shift; tells what shapes it is given."""

    tell: Any

    @nn.compact
    def __call__(self, u, t, *, train):
        self.tell(u.shape)
        gain = self.param("gain", nn.initializers.normal(1.0), ())
        shift = self.param("shift", nn.initializers.normal(1.0), ())
        return gain * u + shift * expand_to(t, u)

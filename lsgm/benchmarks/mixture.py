r"""A mixture of Normal distributions on the line, whose every diffusion is known.

With weights p_k, centers c_k and one deviation s, and a kernel of mean m_t z_0 and
covariance S_t (of position and velocity where a process has one), the state at t is

    u_t ~ sum_k p_k N(c_k m_t, s^2 m_t m_t' + S_t),                        (1)

so its density, its score and each coordinate's own density are closed forms.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.numerics import expand_to
from lsgm.sdes.base import SDE
from lsgm.typing import Array, Float, ResidualFn, State, Time


@dataclasses.dataclass(frozen=True, kw_only=True)
class NormalMixture:
    """Eq. (1) at any time of any process. The defaults have mean 0 and variance 1.

    Attributes:
      centers, weights: c_k and p_k; weights add up to 1.
      deviation: s.

    Raises:
      ValueError: weights that are not positive or do not add up to 1, or not one for
        each center; no positive deviation.
    """

    centers: tuple[float, ...] = (-1.2, 0.0, 1.2)
    weights: tuple[float, ...] = (0.34375, 0.3125, 0.34375)
    deviation: float = 0.1

    def __post_init__(self) -> None:
        whole = math.isclose(sum(self.weights), 1.0) and min(self.weights) > 0
        if not whole or len(self.weights) != len(self.centers):
            raise ValueError(
                f"weights = {self.weights}: must be positive, add up to 1, and be "
                f"{len(self.centers)}, one for each center"
            )
        if not self.deviation > 0:
            raise ValueError(f"deviation = {self.deviation}: must be positive")

    def draw(self, rng: np.random.Generator, num: int) -> Float[np.ndarray, " n"]:
        """Data."""
        kinds = rng.choice(len(self.centers), num, p=self.weights)
        return np.asarray(self.centers)[kinds] + self.deviation * rng.normal(size=num)

    def quantiles(self, num: int) -> Float[np.ndarray, " n"]:
        """Of the data, at (i + 1/2) / n, by interpolation of the distribution."""
        from scipy.special import ndtr

        edge = max(abs(c) for c in self.centers) + 8 * self.deviation
        x = np.linspace(-edge, edge, 200_001)
        away = (x[:, None] - np.asarray(self.centers)) / self.deviation
        return np.interp((np.arange(num) + 0.5) / num, ndtr(away) @ self.weights, x)

    def residual(self, sde: SDE) -> ResidualFn:
        """What the exact predictor adds to that of Normal data, for states [b s]."""

        def residual(u: State, t: Time) -> Array:
            slope = jax.vmap(jax.grad(lambda u, t: self._log_density(sde, u, t)))(u, t)
            score = sde.noised(slope)
            eps = -score / expand_to(sde.score_scale(t), score)
            return eps - sde.normal_eps(u, t)

        return residual

    def density(
        self, sde: SDE, t: Float[Array, ""], x: Float[Array, " n"], coordinate: int
    ) -> Float[Array, " n"]:
        """Of one coordinate of the state: 0 is the position, 1 a velocity."""
        mean, covariance = self._moments(sde, t)
        var = covariance[coordinate, coordinate]
        away = x[:, None] - jnp.asarray(self.centers)[None] * mean[coordinate]
        parts = jnp.exp(-0.5 * away**2 / var) / jnp.sqrt(2 * jnp.pi * var)
        return parts @ jnp.asarray(self.weights)

    def _moments(
        self, sde: SDE, t: Float[Array, ""]
    ) -> tuple[Float[Array, " s"], Float[Array, "s s"]]:
        """m_t, and the covariance of one part of Eq. (1)."""
        mean = sde.mean(jnp.ones((1, 1)), t[None])[0]
        unit = jnp.eye(mean.size)
        root = sde.scale_noise(unit, jnp.broadcast_to(t, mean.shape)).T
        return mean, self.deviation**2 * jnp.outer(mean, mean) + root @ root.T

    def _log_density(
        self, sde: SDE, u: Float[Array, " s"], t: Float[Array, ""]
    ) -> Float[Array, ""]:
        """log p_t(u), but for a constant."""
        mean, covariance = self._moments(sde, t)
        away = u[None] - jnp.asarray(self.centers)[:, None] * mean[None]
        square = jnp.sum((away @ _inverse(covariance)) * away, axis=1)
        return jax.nn.logsumexp(jnp.log(jnp.asarray(self.weights)) - 0.5 * square)


def _inverse(covariance: Float[Array, "s s"]) -> Float[Array, "s s"]:
    """Of one coordinate or two, by hand: LAPACK would take most of a sampler's time."""
    if covariance.shape == (1, 1):
        return 1 / covariance
    (xx, xv), (_, vv) = covariance
    turned = jnp.stack([jnp.stack([vv, -xv]), jnp.stack([-xv, xx])])
    return turned / (xx * vv - xv**2)

r"""Exact moments of the time integral's estimators, for Gaussian data and predictor.

Data are N(0, v) in D dimensions, the predictor k(t) u that of data of another
variance. With eps - k u = a eps - b z_0, a = 1 - k sigma, b = k alpha, an estimator
averages over a batch

    c(t) (A |eps|^2 + B eps . z_0 + C |z_0|^2),   c = w / r,               (1)

where A = a^2, B = -2 a b, C = b^2, less those of ``normal_eps`` where it is the control
variate. Given z_0 and t, Eq. (1) has

    mean c (D A + C |z_0|^2),   variance c^2 (2 D A^2 + B^2 |z_0|^2),      (2)

and |z_0|^2 has mean D v and variance 2 D v^2. Let times be t(rho), rho uniform. With
h the mean of Eq. (2) over data and f = c C, the variance of a batch's mean over times
and noise, the data given, times the batch size n, is

    int E c^2 (2 D A^2 + B^2 |z_0|^2) d rho                                (3)
      + 2 D v^2 (int f^2 d rho - (int f d rho)^2) + V,

    V = int h^2 d rho - (int h d rho)^2      for independent times,        (4)
    V = n Var_s (1/n) sum_i h(s + i / n)     for one shift s of a grid.    (5)
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from lsgm import numerics
from lsgm.objectives.time_sampling import TimeSampler
from lsgm.objectives.weighting import Weighting
from lsgm.sdes.scalar import ScalarSDE
from lsgm.typing import Array, Time

DATA_VAR, MODEL_VAR = 1.2, 0.8
Z_SHAPE = (2, 2, 2)
DIMS = math.prod(Z_SHAPE)
# Nodes of a Gauss-Legendre cell, and cells from either end of a stratum of rho.
_ORDER, _CELLS = 8, 60


@dataclasses.dataclass(frozen=True)
class Moments:
    """Of an estimator, in nats where the weighting is the likelihood's.

    Attributes:
      mean: over everything, the control variate's integral included.
      variance: per example, over times and noise; Eq. (3).
      data_variance: per example, of the mean over times and noise.
    """

    mean: float
    variance: float
    data_variance: float

    def standard_error(self, batches: int, batch_size: int) -> float:
        """Of the mean of so many pairs of batches, each pair of the same data."""
        each = self.data_variance + 0.5 * self.variance
        return math.sqrt(each / (batches * batch_size))


def gain(sde: ScalarSDE, t: Time, variance: float) -> Array:
    """eps_hat / z_t of the exact predictor for N(0, variance) data."""
    return jnp.sqrt(sde.var(t)) / (sde.alpha(t) ** 2 * variance + sde.var(t))


def quadrature(sde: ScalarSDE, weighting: Weighting, t_min: float) -> float:
    """The integral of w over the mean error, by Gauss-Legendre cells in float64."""
    early = np.geomspace(max(t_min, 1e-9), 0.5, 400)
    late = 1 - np.geomspace(1e-6, 0.5, 400)[::-1]
    edges = np.unique(np.concatenate([[t_min], early, late, [1.0]]))
    nodes, weights = _gauss(edges)

    def integrand(t: Array) -> Array:
        a2, _, b2 = _square(sde, t, gain(sde, t, MODEL_VAR))
        return weighting(sde, t) * (a2 + b2 * DATA_VAR)

    return DIMS * float(weights @ numerics.on_host(integrand, nodes))


def moments(
    sde: ScalarSDE,
    weighting: Weighting,
    times: TimeSampler,
    batch_size: int,
    *,
    control: bool = False,
) -> Moments:
    """Eqs. (1) to (5), by quadrature over rho in float64.

    Args:
      control: subtract the error of ``normal_eps``, whose integral is known.

    Raises:
      ValueError: the time sampler has no density for this process.
    """
    offsets, weights = _gauss(_graded(1 / batch_size))
    starts = np.arange(batch_size) / batch_size
    rho = (starts[:, None] + offsets[None]).ravel()

    def terms(rho: Array) -> Array:
        t, density = times.times(sde, rho)
        error = _square(sde, t, gain(sde, t, MODEL_VAR))
        normal = _square(sde, t, jnp.sqrt(sde.var(t)) / sde.normal_var(t))
        c = weighting(sde, t) / density
        return c[None, None] * jnp.stack([error, normal])

    error, normal = numerics.on_host(terms, rho).reshape(2, 3, batch_size, -1)

    def integrate(values: np.ndarray) -> float:
        return float(np.sum(values @ weights))

    norm, norm_variance = DIMS * DATA_VAR, 2 * DIMS * DATA_VAR**2
    # What the control variate takes away is given back in closed form.
    mean = integrate(DIMS * error[0] + norm * error[2])
    of_data = norm_variance * integrate(error[2]) ** 2
    a, b, c = error - normal if control else error
    noise = integrate(2 * DIMS * a**2 + norm * b**2)
    data = norm_variance * (integrate(c**2) - integrate(c) ** 2)
    means = DIMS * a + norm * c
    away = means - integrate(means)
    # Of one shift all strata are looked at together; the shifts' weights sum to 1 / n.
    grid = batch_size**2 * float(away.mean(0) ** 2 @ weights)
    of_times = grid if times.stratified else integrate(away**2)
    return Moments(mean, noise + data + of_times, of_data)


def _square(sde: ScalarSDE, t: Time, k: Array) -> Array:
    """A, B, C of Eq. (1) for the predictor k u, [3 n]."""
    a, b = 1 - k * jnp.sqrt(sde.var(t)), k * sde.alpha(t)
    return jnp.stack([a**2, -2 * a * b, b**2])


def _graded(length: float) -> np.ndarray:
    """Edges of cells on [0, length], finer and finer towards both ends."""
    half = np.geomspace(1e-10, 0.5, _CELLS)
    return length * np.concatenate([[0.0], half, 1 - half[-2::-1], [1.0]])


def _gauss(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss-Legendre quadrature over cells."""
    places, weights = np.polynomial.legendre.leggauss(_ORDER)
    widths = np.diff(edges)
    nodes = edges[:-1, None] + 0.5 * (places + 1) * widths[:, None]
    return nodes.ravel(), (0.5 * widths[:, None] * weights).ravel()

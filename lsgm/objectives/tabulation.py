r"""Distribution functions of time without a closed form, by table.

    F(t) = int_{t_min}^t w(s) e(s) ds                                      (1)

(or of w alone) is summed over cells by Gauss-Legendre quadrature in float64, when
the caller is traced; between nodes t(F) is the cubic with the exact values t_i and
the exact slopes dt/dF = 1 / (w e). The density is evaluated from its formula, never
from the table.
"""

import functools

import jax.numpy as jnp
import numpy as np

from lsgm.numerics import on_host
from lsgm.objectives.weighting import Weighting
from lsgm.sdes.base import SDE, TimeIntegral
from lsgm.typing import Array, Time

_CELLS = 1024
_ORDER = 8


@functools.lru_cache(maxsize=64)
def tabulate(
    sde: SDE, weighting: Weighting, t_min: float, *, with_error: bool = True
) -> TimeIntegral:
    """F of Eq. (1) and its inverse.

    Args:
      with_error: whether e is a factor.

    Raises:
      ValueError: w e is not positive and finite on [t_min, 1], so that no density
        is proportional to it.
    """

    def rate(t: Time) -> Time:
        weight = weighting(sde, t)
        return weight * sde.normal_error(t) if with_error else weight

    nodes = _nodes(t_min)
    rates = on_host(rate, nodes)
    if not np.all(np.isfinite(rates) & (rates > 0)):
        what = f"times the error of {sde}" if with_error else f"for {sde}"
        raise ValueError(f"{weighting} {what} is not a density")
    widths = np.diff(nodes)
    places, weights = np.polynomial.legendre.leggauss(_ORDER)
    inside = nodes[:-1, None] + 0.5 * (places + 1) * widths[:, None]
    values = on_host(rate, inside.ravel()).reshape(inside.shape)
    masses = 0.5 * widths * (values @ weights)
    cumulative = np.concatenate([[0.0], np.cumsum(masses)])
    return TimeIntegral(
        value=lambda t: jnp.interp(t, _as(nodes, t), _as(cumulative, t)),
        inverse=lambda c: _inverse(c, nodes, cumulative, rates),
    )


def _nodes(t_min: float) -> np.ndarray:
    """Even in t, and even in log t and log(1 - t) where w e may rise or fall fast."""
    even = np.linspace(t_min, 1, _CELLS + 1)
    early = np.geomspace(max(t_min, 1e-6), 1, _CELLS + 1)[1:-1]
    late = 1 - np.geomspace(1e-6, 1 - t_min, _CELLS + 1)[:-1]
    return np.unique(np.concatenate([even, early, late]))


def _inverse(
    c: Time, nodes: np.ndarray, cumulative: np.ndarray, rates: np.ndarray
) -> Time:
    """Cubic Hermite interpolation of t over F."""
    masses = np.diff(cumulative)
    cell = jnp.searchsorted(_as(cumulative[1:-1], c), c, side="right")
    t0, width, mass = (_as(x, c)[cell] for x in (nodes[:-1], np.diff(nodes), masses))
    slope0 = _as(masses / rates[:-1], c)[cell]
    slope1 = _as(masses / rates[1:], c)[cell]
    # In float32 a cell may be narrower than the rounding of c.
    s = jnp.clip((c - _as(cumulative[:-1], c)[cell]) / mass, 0, 1)
    rise = s**2 * (3 - 2 * s) * width
    return t0 + rise + s * (1 - s) * ((1 - s) * slope0 - s * slope1)


def _as(x: np.ndarray, like: Array) -> Array:
    return jnp.asarray(x, like.dtype)

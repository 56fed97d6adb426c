r"""Where a fixed-grid sampler calls the network: times from noise to data.

With kappa the noise in units of the signal, sigma / alpha or for any process
exp(-log_snr / 2), a grid is even in

    t              uniform                                                 (1)
    t^(1/2)        quadratic: finer near the data                          (2)
    log kappa      half the negative log signal-to-noise ratio             (3)
    arctan kappa   the angle of (alpha, sigma), finite at both ends        (4)
    kappa^(1/rho)  Karras: rho = 7                                         (5)
    (t - t_end)^(1/2)  quadratic from the end: steps that shrink evenly    (8)

Grids are computed on the host in float64: they depend on configuration alone.

Sources: DDIM, arXiv 2010.02502, appendix D (2); DPM-Solver, arXiv 2206.00927 (3);
EDM, arXiv 2206.00364, Eq. 5 (5); CLD, arXiv 2112.07068 (8).
"""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.numerics import on_host
from lsgm.sdes.base import SDE
from lsgm.sdes.scalar import ScalarSDE
from lsgm.typing import Time

# Fewest numbers in one compiled call; more go in powers of two.
_FILLED = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid(abc.ABC):
    """Contract: a decreasing grid of times."""

    @abc.abstractmethod
    def __call__(
        self, sde: SDE, t_start: float, t_end: float, num_steps: int
    ) -> np.ndarray:
        """float64 [num_steps + 1] from ``t_start`` down to ``t_end``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniformGrid(Grid):
    """Eq. (1)."""

    def __call__(
        self, sde: SDE, t_start: float, t_end: float, num_steps: int
    ) -> np.ndarray:
        del sde
        return np.linspace(t_start, t_end, num_steps + 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quadratic(Grid):
    """Eq. (2)."""

    def __call__(
        self, sde: SDE, t_start: float, t_end: float, num_steps: int
    ) -> np.ndarray:
        del sde
        return np.linspace(t_start**0.5, t_end**0.5, num_steps + 1) ** 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuadraticFromEnd(Grid):
    """Eq. (8)."""

    def __call__(
        self, sde: SDE, t_start: float, t_end: float, num_steps: int
    ) -> np.ndarray:
        del sde
        return t_end + (t_start - t_end) * np.linspace(1, 0, num_steps + 1) ** 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Warped(Grid):
    """Even in a function of kappa."""

    @abc.abstractmethod
    def warp(self, kappa: np.ndarray) -> np.ndarray:
        """The increasing function of kappa."""

    @abc.abstractmethod
    def unwarp(self, value: np.ndarray) -> np.ndarray:
        """Its inverse."""

    def __call__(
        self, sde: SDE, t_start: float, t_end: float, num_steps: int
    ) -> np.ndarray:
        log_snr = _on_host(_log_snr, sde, np.array([t_start, t_end]))
        first, last = self.warp(np.exp(-0.5 * log_snr))
        inner = self.unwarp(np.linspace(first, last, num_steps + 1)[1:-1])
        return np.concatenate([[t_start], times_of(sde, np.log(inner)), [t_end]])


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogSNR(_Warped):
    """Eq. (3)."""

    def warp(self, kappa: np.ndarray) -> np.ndarray:
        return np.log(kappa)

    def unwarp(self, value: np.ndarray) -> np.ndarray:
        return np.exp(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Angle(_Warped):
    """Eq. (4)."""

    def warp(self, kappa: np.ndarray) -> np.ndarray:
        return np.arctan(kappa)

    def unwarp(self, value: np.ndarray) -> np.ndarray:
        return np.tan(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Karras(_Warped):
    """Eq. (5)."""

    rho: float = 7.0

    def __post_init__(self) -> None:
        if not self.rho > 0:
            raise ValueError(f"rho must be positive, not {self.rho}")

    def warp(self, kappa: np.ndarray) -> np.ndarray:
        return kappa ** (1 / self.rho)

    def unwarp(self, value: np.ndarray) -> np.ndarray:
        return value**self.rho


class Marginals(NamedTuple):
    """What a process is at some times, on the host in float64, each [n].

    Predictions are linear in the state u and the residual r: with N the variance
    of u_t for Normal data of variance v,

        eps_hat = anchor u + r,            anchor = sigma / N,             (6)
        z0_hat = data_u u + data_r r,      data_u = v alpha / N,
                                           data_r = -sigma / alpha.        (7)

    Eq. (7) is (u - sigma eps_hat) / alpha without its cancellation.
    """

    t: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray
    anchor: np.ndarray
    data_u: np.ndarray
    data_r: np.ndarray

    @property
    def kappa(self) -> np.ndarray:
        return self.sigma / self.alpha

    def steps(self) -> tuple["Marginals", "Marginals"]:
        """Starts and ends of the steps between these times."""
        return Marginals(*(x[:-1] for x in self)), Marginals(*(x[1:] for x in self))


def marginals(sde: ScalarSDE, t: np.ndarray) -> Marginals:
    """Eqs. (6) and (7) at ``t`` [n]."""
    return Marginals(np.asarray(t, np.float64), *_on_host(_values, sde, t))


def times_of(sde: SDE, log_kappa: np.ndarray) -> np.ndarray:
    """Times at which log kappa has these values, any shape, by bisection."""
    return _on_host(_bisect, sde, log_kappa.ravel()).reshape(log_kappa.shape)


def _on_host(
    fn: Callable[[Any, Time], jax.Array], sde: SDE, x: np.ndarray
) -> np.ndarray:
    """``fn(sde, x)`` [... n] for x [n], filled up: few sizes are ever compiled."""
    size = max(_FILLED, 1 << (len(x) - 1).bit_length()) if len(x) else _FILLED
    filled = np.pad(np.asarray(x), (0, size - len(x)), constant_values=0.5)
    return on_host(functools.partial(fn, sde), filled)[..., : len(x)]


# jit: compiled once for each process and filled size.
@functools.partial(jax.jit, static_argnums=0)
def _values(sde: ScalarSDE, t: Time) -> jax.Array:
    alpha, var, total = sde.alpha(t), sde.var(t), sde.normal_var(t)
    sigma = jnp.sqrt(var)
    anchor, data_u = sigma / total, sde.data_var * alpha / total
    return jnp.stack([alpha, sigma, anchor, data_u, -sigma / alpha])


@functools.partial(jax.jit, static_argnums=0)
def _log_snr(sde: SDE, t: Time) -> jax.Array:
    return sde.log_snr(t)


@functools.partial(jax.jit, static_argnums=0)
def _bisect(sde: SDE, log_kappa: Time) -> jax.Array:
    def halve(_: jax.Array, interval: tuple) -> tuple:
        low, high = interval
        middle = 0.5 * (low + high)
        below = sde.log_snr(middle) > -2 * log_kappa
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    ends = jnp.zeros_like(log_kappa), jnp.ones_like(log_kappa)
    low, high = jax.lax.fori_loop(0, 64, halve, ends)
    return 0.5 * (low + high)

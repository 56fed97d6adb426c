r"""A diffusion of T large Gaussian steps, and the posterior that undoes one of them.

The chain visits a variance-preserving process at T + 1 times, evenly spaced from
t_min to 1. Levels are k = 0, the data, to k = T, almost noise:

    beta_k = 1 - (alpha(t_k) / alpha(t_{k-1}))^2,   abar_k = prod_{j <= k} (1 - beta_j)
                                                                           (1)
    q(x_k | x_{k-1}) = N(sqrt(1 - beta_k) x_{k-1}, beta_k)                 (2)
    q(x_k | x_0) = N(sqrt(abar_k) x_0, 1 - abar_k)                         (3)
    q(x_{k-1} | x_k, x_0) = N(c0_k x_0 + c1_k x_k, v_k)                    (4)

    c0_k = sqrt(abar_{k-1}) beta_k / (1 - abar_k)
    c1_k = sqrt(1 - beta_k) (1 - abar_{k-1}) / (1 - abar_k)                (5)
    v_k = beta_k (1 - abar_{k-1}) / (1 - abar_k)

Only ratios of alpha enter, so level 0 is the data without noise, whatever alpha(t_min)
is. Level 1 has c0 = 1, c1 = v = 0: from there, a guess of x_0 is the sample.

With ``VPSDE`` these are the published tables; with ``GeometricVPSDE`` those of the
published "geometric" option, whose default betas make a variance of 20.

Source: Denoising diffusion GANs, arXiv 2112.07804, section 3; (4), (5) Ho et al., arXiv
2006.11239, Eqs. 6 and 7.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lsgm.numerics import expand_to, on_host
from lsgm.sdes.scalar import VariancePreservingSDE
from lsgm.sdes.vpsde import VPSDE
from lsgm.typing import Array, Clean, Float, Int, State


class ChainTable(NamedTuple):
    """What Eqs. (1) to (5) give for levels k = 1 .. T, float64 [T] each, k = 1 first.

    Attributes:
      beta: variance of one step, Eq. (2).
      abar: squared signal of Eq. (3).
      c0, c1, var: of the posterior, Eq. (5).
    """

    beta: Any
    abar: Any
    c0: Any
    c1: Any
    var: Any


class Pair(NamedTuple):
    """Two neighbouring levels of one path: ``cleaner`` x_{k-1} and ``noisier`` x_k."""

    cleaner: Any
    noisier: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chain:
    """T Gaussian steps from data to noise, Eqs. (1) to (5).

    Attributes:
      num_steps: T.
      sde: the process whose noise levels the chain visits.
      t_min: the time that stands for the data.

    Raises:
      ValueError: no step at all, or no time before the last.
    """

    num_steps: int = 4
    sde: VariancePreservingSDE = VPSDE()
    t_min: float = 1e-3

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps = {self.num_steps}: at least 1")
        if not 0 <= self.t_min < 1:
            raise ValueError(f"t_min = {self.t_min}: must be in [0, 1)")

    @functools.cached_property
    def table(self) -> ChainTable:
        """Coefficients by level."""
        times = np.linspace(self.t_min, 1.0, self.num_steps + 1)
        alpha = on_host(self.sde.alpha, times)
        keep = (alpha[1:] / alpha[:-1]) ** 2
        beta, abar = 1 - keep, (alpha[1:] / alpha[0]) ** 2
        before = np.append(1.0, abar[:-1])
        rest = (1 - before) / (1 - abar)
        return ChainTable(
            beta=beta,
            abar=abar,
            c0=np.sqrt(before) * beta / (1 - abar),
            c1=np.sqrt(keep) * rest,
            var=beta * rest,
        )

    def diffuse(self, x0: Clean, level: Int[Array, " b"], eps: State) -> State:
        """x_k ~ q(x_k | x_0), Eq. (3), at levels 0 .. T; level 0 is x_0 itself.

        Args:
          level: k of each example, int32.
          eps: standard normal, of the data's shape.
        """
        abar = np.append(1.0, self.table.abar)
        mean, std = (_at(v, level, x0) for v in (np.sqrt(abar), np.sqrt(1 - abar)))
        return mean * x0 + std * eps

    def pair(
        self, x0: Clean, level: Int[Array, " b"], eps: State, eps_step: State
    ) -> Pair:
        """x_{k-1} ~ q(. | x_0) and x_k ~ q(. | x_{k-1}), Eqs. (3) and (2).

        Args:
          level: k of each example, from 1 to T, int32.
          eps, eps_step: standard normal, of x_{k-1} and of the step to x_k.
        """
        cleaner = self.diffuse(x0, level - 1, eps)
        beta = self.table.beta
        keep, std = (_at(v, level - 1, x0) for v in (np.sqrt(1 - beta), np.sqrt(beta)))
        return Pair(cleaner, keep * cleaner + std * eps_step)

    def posterior(
        self, x0: Clean, noisier: State, level: Int[Array, " b"], eps: State
    ) -> State:
        """x_{k-1} ~ q(. | x_k, x_0), Eq. (4); at k = 1 it is x_0.

        Args:
          noisier: x_k.
          level: k of each example, from 1 to T, int32.
          eps: standard normal, of the data's shape.
        """
        table = self.table
        c0, c1, std = (
            _at(v, level - 1, x0) for v in (table.c0, table.c1, np.sqrt(table.var))
        )
        return c0 * x0 + c1 * noisier + std * eps


def _at(
    values: np.ndarray, place: Int[Array, " b"], like: State
) -> Float[Array, "..."]:
    """``values[place]`` in the precision of ``like``, to be multiplied with it."""
    return expand_to(jnp.asarray(values, like.dtype)[place], like)

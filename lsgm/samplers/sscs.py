r"""SSCS: the symmetric splitting sampler of critically-damped Langevin diffusion.

Backwards in time, with score + v / M = force / (friction beta), the process is

    A:  dx = -beta v / M,   dv = beta (x - friction v / M) + sqrt(2 friction beta) dw,
    S:  dv = 2 force(u, t).                                                (1)

A leaves the prior as it is and has a kernel in closed form: that of the forward
process given u_0, with the signs of the cross terms turned. With y the time that
passes, in the process's own units, e = exp(-y), P and D as in ``lsgm.sdes.langevin``,

    map  = sqrt(e) ((1 + y/2, -y / friction), (friction y / 4, 1 - y/2)),
    Qxx = P,   Qxv = -friction y^2 e / 4,   det Q = M D.                   (2)

A step from t to s is A to the middle m of the interval, S over its length, and A to
s. S is solved by Euler's method with the force at t, one call:

    v <- v + 2 (t - s) force(u, t).                                        (3)

This has weak order 1, as measured in the tests: Strang's splitting has order 2, Eq. (3)
has not. With ``stages=2`` the midpoint rule at time m takes two calls, and the whole
has order 2; it is stiff near the data, and pays off above a hundred calls.

The published code takes the first half's y for the second too. That is the same for
constant beta on a uniform grid, and up to 90 % off elsewhere; ``reference_compatible``
does so.

Source: CLD, arXiv 2112.07068, section 3.3. Orders and the two-stage step: own.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from lsgm.numerics import on_host
from lsgm.samplers.fixed_grid import Row, Table
from lsgm.samplers.langevin import LangevinSampler
from lsgm.sdes.langevin import Langevin, differences
from lsgm.typing import Array, Float, ResidualFn, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class SSCS(LangevinSampler):
    """Eqs. (1) to (3).

    Attributes:
      stages: calls of S: 1, Eq. (3), or 2, the midpoint rule.
    """

    stages: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stages not in (1, 2):
            raise ValueError(f"stages must be 1 or 2, not {self.stages}")

    @property
    def calls(self) -> int:
        return self.stages

    @property
    def draws(self) -> int:
        return 2

    def table(self, sde: Langevin) -> Table:
        times = self.times(sde)
        start, end = times[:-1], times[1:]
        middle = 0.5 * (start + end)
        passed = [on_host(sde.elapsed, t) for t in (start, middle, end)]
        first = passed[0] - passed[1]
        second = first if self.reference_compatible else passed[1] - passed[2]
        table = {
            "t": start if self.stages == 1 else middle,
            "length": start - end,
        }
        for name, y in (("first", first), ("second", second)):
            table[name], table[f"{name}_root"] = stationary_step(sde, y)
        return table

    def advance(
        self,
        row: Row,
        sde: Langevin,
        residual_fn: ResidualFn,
        u: State,
        noise: Float[Array, "k b *s"],
    ) -> State:
        t = jnp.full(u.shape[:1], row["t"])

        def kick(at: State, share: float) -> State:
            force = sde.force(at, t, residual_fn(at, t))
            return u + 2 * share * row["length"] * sde.embed(force)

        u = _apply(row["first"], u) + _apply(row["first_root"], noise[0])
        u = kick(u, 1.0) if self.stages == 1 else kick(kick(u, 0.5), 1.0)
        return _apply(row["second"], u) + _apply(row["second_root"], noise[1])


def stationary_step(sde: Langevin, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eq. (2) for times [n] that pass: the maps and the roots of Q, [n 2 2] each."""
    p, _, d = (
        x * y**k for x, k in zip(on_host(_differences, y), (3, 3, 4), strict=True)
    )
    e, friction = np.exp(-y), sde.friction
    maps = np.array([[1 + y / 2, -y / friction], [friction * y / 4, 1 - y / 2]])
    xx = np.sqrt(p)
    root = np.array(
        [
            [xx, np.zeros_like(y)],
            [-friction * y**2 * e / (4 * xx), np.sqrt(sde.mass * d / p)],
        ]
    )
    return np.moveaxis(np.sqrt(e) * maps, -1, 0), np.moveaxis(root, -1, 0)


def _differences(y: Array) -> Array:
    return jnp.stack(differences(y))


def _apply(matrix: Float[Array, "2 2"], u: State) -> State:
    """The same matrix for each pair of a position and a velocity."""
    x, v = jnp.split(u, 2, axis=-1)
    rows = [matrix[i, 0] * x + matrix[i, 1] * v for i in range(2)]
    return jnp.concatenate(rows, axis=-1)

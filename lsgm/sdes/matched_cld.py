r"""Langevin diffusion with the signal-to-noise ratio of another process.

In CLD the state at a time tells far more of the data than in other processes: with
constant beta, nu of ``lsgm.sdes.langevin``, Eq. (6), is 2e-4 at t = 0.01, and 2e-3 for
the linear VPSDE. A cutoff, a weighting or a grid of times then means something else.
Here time runs such that

    nu(y(t)) = exp(-log_snr(t)) of the other process, so that              (1)
    beta = friction y' / 4 = friction (d log nu / dt) / (4 d log nu / dy). (2)

y is tabulated over log t in float64; between nodes it is the cubic with the exact
slopes, and below them it goes as t^(1/3). The rate grows without bound towards t = 0,
as t^(-2/3), and with it g^2; what it integrates to is finite.

Source: own.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.numerics import on_host
from lsgm.sdes.langevin import Langevin
from lsgm.sdes.scalar import ScalarSDE
from lsgm.typing import Array, Time

_FIRST, _NODES, _LONGEST = 1e-9, 4097, 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchedCLD(Langevin):
    """CLD with time as in Eq. (1).

    Attributes:
      like: a process that starts from the data without noise.
    """

    like: ScalarSDE

    def __post_init__(self) -> None:
        super().__post_init__()
        (start,) = on_host(self.like.var, [0.0])
        if start > 0:
            raise ValueError(
                f"like = {self.like}: it starts with noise of variance {start:.2g}, "
                "where CLD has none; set its var_0 to 0"
            )

    def beta(self, t: Time) -> Time:
        """Eq. (2)."""
        return self.friction / 4 * _rate(self, t, self.elapsed(t))

    def elapsed(self, t: Time) -> Time:
        return _elapsed(self, t)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _elapsed(sde: MatchedCLD, t: Time) -> Time:
    """y(t) by the table."""
    logs, values, slopes = _table(sde)
    log_t = jnp.log(jnp.maximum(t, _FIRST))
    width = (logs[-1] - logs[0]) / (len(logs) - 1)
    place = (log_t - logs[0]) / width
    cell = jnp.clip(place.astype(jnp.int32), 0, len(logs) - 2)
    s = jnp.clip(place - cell.astype(t.dtype), 0, 1)
    v0, v1, d0, d1 = (
        jnp.asarray(x, t.dtype)[cell]
        for x in (values[:-1], values[1:], width * slopes[:-1], width * slopes[1:])
    )
    rise = v1 - v0
    log_y = v0 + s * rise
    log_y += s * (1 - s) * ((1 - s) * (d0 - rise) - s * (d1 - rise))
    early = jnp.cbrt(jnp.minimum(t / _FIRST, 1))
    return early * jnp.exp(log_y)


@_elapsed.defjvp
def _elapsed_jvp(sde: MatchedCLD, primals: tuple, tangents: tuple) -> tuple:
    """With the exact rate, so that drift and kernel belong together."""
    (t,), (change,) = primals, tangents
    y = _elapsed(sde, t)
    return y, _rate(sde, t, y) * change


def _rate(sde: MatchedCLD, t: Time, y: Array) -> Time:
    """dy/dt."""
    _, growth = jax.jvp(lambda s: -sde.like.log_snr(s), (t,), (jnp.ones_like(t),))
    _, slope = jax.jvp(lambda x: jnp.log(sde.noise_at(x)), (y,), (jnp.ones_like(y),))
    return growth / slope


@functools.lru_cache(maxsize=32)
def _table(sde: MatchedCLD) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log t, log y there, and its slope over log t."""
    logs = np.linspace(np.log(_FIRST), 0, _NODES)
    wanted = -on_host(lambda x: sde.like.log_snr(jnp.exp(x)), logs)

    def solve(target: Array) -> Array:
        def halve(_: Array, interval: tuple) -> tuple:
            low, high = interval
            middle = 0.5 * (low + high)
            below = jnp.log(sde.noise_at(jnp.exp(middle))) < target
            return jnp.where(below, middle, low), jnp.where(below, high, middle)

        ends = jnp.full_like(target, -20.0), jnp.full_like(target, np.log(_LONGEST))
        low, high = jax.lax.fori_loop(0, 80, halve, ends)
        return 0.5 * (low + high)

    values = on_host(solve, wanted)
    y = np.exp(values)
    times = np.exp(logs)
    rates = on_host(lambda both: _rate(sde, both[0], both[1]), np.stack([times, y]))
    return logs, values, rates * times / y

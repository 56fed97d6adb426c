r"""Critically-damped Langevin diffusion: noise enters through a velocity.

The state u = (x, v) stacks position and velocity on the channels,

    dx = beta v / M dt,
    dv = -beta (x + friction v / M) dt + sqrt(2 friction beta) dw,         (1)

with friction^2 = 4 M (critical damping). It ends at N(0, 1) x N(0, M). Velocities
start at N(0, gamma M) and are never drawn in training: the kernel given z_0 alone
has them integrated out ("hybrid score matching").

With B the integral of beta, y = 4 B / friction and e = exp(-y), the kernel is

    mean = sqrt(e) (1 + y/2, -friction y / 4) z_0,                         (2)
    Sxx = P + gamma y^2 e / 4,
    Sxv = friction e (y^2 + gamma y (1 - y/2)) / 4,
    Svv = M (P + 2 y e + gamma e (1 - y/2)^2),
    det S = M (D + gamma e K),                                             (3)

    P = 1 - e (1 + y + y^2/2) = e sum_{k>2} y^k / k!,
    K = 1 - y + y^2/2 - e     = -sum_{k>2} (-y)^k / k!,
    D = (1 - e)^2 - y^2 e     = 2 e sum_{k>1} y^(2k) / (2k)!.              (4)

The differences in (4) have lost every digit of float32 at y = 1e-3, so the series
are used there, and powers of y are kept apart: Sxx = y^2 X, Sxv = y V and det S =
M y^3 R, with X, V, R finite at 0. L is the lower triangular root of S, and the
score of v is -l eps_v with l^2 = Sxx / det S, which grows like t^(-1/2).

For Normal data, Var(z_0) = 1, the covariance N of u_t has, with c = (1 - gamma) e,

    Nxx = 1 - c y^2 / 4,   Nxv = -c friction y (1 - y/2) / 4,
    det N = M (1 - c (1 - y + y^2/2)).                                     (5)

The variance of z_0's best estimate from u_t alone is 1 / SNR =

    nu = (D + gamma e K) / (e (1 + y + y^2/2) - (1 - gamma) e^2).          (6)

A model that ends with z_0 ~ N(estimate, nu) at t_min has the bound of Theorem 1 with
the constant log(2 pi e nu) / 2 per dimension, and no velocity in it. The terms with
Normal distributions follow from nu, for det N / det S = 1 + 1 / nu, and

    KL(p(u_t | z_0) || N(0, N)) = ((z_0^2 - 1) / (1 + nu) + log(1 + 1 / nu)) / 2.
                                                                           (7)

With Eq. (2) as (a, b) z_0 and a prediction eps of the velocity's noise, data follow by

    E[z_0 | u_t] = (v - eps / l - k x) / (b - a k),   k = Sxv / Sxx.       (8)

Source: Dockhorn et al., arXiv 2112.07068, for (1) and hybrid score matching. Closed
forms (2) to (8) and the bound: own derivations, tested in tests/sdes.
"""

import abc
import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lsgm.numerics import expand_to, on_host, sum_per_example
from lsgm.sdes.base import LOG_2PI, SDE, Lifted
from lsgm.typing import Array, Clean, Noise, PerExample, PRNGKey, State, Time

# Below, Eq. (4) is summed, to float64's rounding; above, its differences have lost
# one digit at most.
_SERIES_UP_TO, _TERMS = 1.0, 16


class _Kernel(NamedTuple):
    """Eqs. (3) and (5) at some times, each [b].

    Attributes:
      y, e: of Eq. (2).
      c: of Eq. (5).
      p: P of Eq. (4).
      xx, xv, det: X, V, R.
      normal_xx, normal_xv: Nxx and Nxv.
      normal_det: det N / M.
    """

    y: Array
    e: Array
    c: Array
    p: Array
    xx: Array
    xv: Array
    det: Array
    normal_xx: Array
    normal_xv: Array
    normal_det: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Langevin(SDE):
    """Langevin dynamics at critical damping, Eqs. (1) to (8), at any rate.

    Attributes:
      mass: M.
      gamma: variance of velocities at t = 0 over M.
      added_var: what the published code adds to Sxx and Svv at every time (1e-9 or
        1e-6), for networks that were trained with it. It is no part of Eq. (1):
        bounds are exact without it.
    """

    mass: float = 0.25
    gamma: float = 0.04
    added_var: float = 0.0

    def __post_init__(self) -> None:
        if not self.mass > 0:
            raise ValueError(f"mass must be positive, not {self.mass}")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must lie in (0, 1], not {self.gamma}")
        if not self.added_var >= 0:
            raise ValueError(f"added_var must be at least 0, not {self.added_var}")

    @property
    def friction(self) -> float:
        """Of critical damping: 2 sqrt(M)."""
        return 2 * math.sqrt(self.mass)

    @property
    def noises_data(self) -> bool:
        return False

    @property
    def data_var(self) -> float:
        return 1.0

    def state_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*z_shape[:-1], 2 * z_shape[-1])

    def lower(self, u: State) -> Clean:
        return _split(u)[0]

    def noised(self, u: State) -> Noise:
        return _split(u)[1]

    def embed(self, noise: Noise) -> State:
        return _join(jnp.zeros_like(noise), noise)

    def lift(self, z0: Clean, t: Time, eps: Noise | None) -> Lifted:
        """Velocities from their distribution given positions, for Normal data: at
        t = 0 that is N(0, gamma M)."""
        if eps is None:
            raise ValueError(f"eps is None: {self} has to draw a velocity")
        at = self._kernel(t)
        var = self.mass * at.normal_det / at.normal_xx
        v = (
            expand_to(at.normal_xv / at.normal_xx, z0) * z0
            + expand_to(jnp.sqrt(var), eps) * eps
        )
        log_prob = -0.5 * (eps**2 + LOG_2PI + expand_to(jnp.log(var), eps))
        return Lifted(_join(z0, v), sum_per_example(log_prob))

    @abc.abstractmethod
    def beta(self, t: Time) -> Time:
        """Rate of Eq. (1)."""

    @abc.abstractmethod
    def elapsed(self, t: Time) -> Time:
        """y of Eq. (2): the time that has passed, in units of the damping."""

    def drift(self, u: State, t: Time) -> State:
        x, v = _split(u)
        beta, pull = expand_to(self.beta(t), x), self.friction / self.mass
        return _join(beta / self.mass * v, -beta * (x + pull * v))

    def g2(self, t: Time) -> Time:
        return 2 * self.friction * self.beta(t)

    def mean(self, z0: Clean, t: Time) -> State:
        return _join(*(expand_to(share, z0) * z0 for share in self._mean(t)))

    def scale_noise(self, eps: State, t: Time) -> State:
        at = self._kernel(t)
        root = jnp.sqrt(at.xx)
        eps_x, eps_v = _split(eps)
        x = expand_to(at.y * root, eps) * eps_x
        v = expand_to(at.xv / root, eps) * eps_x
        return _join(x, v + expand_to(self._velocity_root(at), eps) * eps_v)

    def score_scale(self, t: Time) -> Time:
        return 1 / self._velocity_root(self._kernel(t))

    def log_snr(self, t: Time) -> Time:
        return -jnp.log(self.data_noise(t))

    def target_spread(self, t: Time) -> Time:
        """(l_0 / l)^2 - 1 is its square, l_0 the scale given the velocity at t = 0 too:
        the target of that is Normal around the other one. Without ``added_var``."""
        y = self.elapsed(t)
        p, k, d = differences(y)
        start = self.gamma * jnp.exp(-y)
        excess = start * (p * k - d / 4) / (d * (y * p + start / 4))
        return jnp.sqrt(excess)

    def estimate(self, u: State, t: Time, residual: Noise) -> Clean:
        """Eq. (8) as the estimate for Normal data, and what the residual adds."""
        at, (x, v) = self._kernel(t), _split(u)
        decay, rest = jnp.exp(-at.y / 2), 1 - at.c
        added = self.added_var / self.mass
        of_x = rest + at.y / 2 * (1 + at.c) + added * (1 + at.y / 2)
        of_v = -at.y / self.friction * (rest + added * self.mass)
        of_x, of_v = (decay * share / at.normal_det for share in (of_x, of_v))
        of_residual = at.y * at.xx * self._velocity_root(at) / (decay * self._miss(at))
        normal = expand_to(of_x, x) * x + expand_to(of_v, v) * v
        return normal + expand_to(of_residual, residual) * residual

    def normal_eps(self, u: State, t: Time) -> Noise:
        """Minus the velocity's score under N, over l."""
        at, (x, v) = self._kernel(t), _split(u)
        scale = self._velocity_root(at) / (self.mass * at.normal_det)
        of_x, of_v = scale * at.normal_xv, scale * at.normal_xx
        return expand_to(of_v, v) * v - expand_to(of_x, x) * x

    def base_eps(self, u: State, t: Time) -> Noise:
        """v / (l Svv): as if positions told nothing of velocities."""
        at = self._kernel(t)
        v = self.noised(u)
        scale = self._velocity_root(at) / (self._velocity_var(at) + self.added_var)
        return expand_to(scale, v) * v

    def normal_error(self, t: Time) -> Time:
        """1 - Nxx det S / (Sxx det N), as a square: with p the mean for z_0 = 1,
        (Sxx p_v - Sxv p_x)^2 / (Sxx det N), where both terms have one sign."""
        at = self._kernel(t)
        return at.e * self._miss(at) ** 2 / (at.xx * self.mass * at.normal_det)

    def probability_flow(self, u: State, t: Time, residual: Noise) -> State:
        """The friction is what the score of Normal data takes away: for gamma = 1 the
        flow of Normal data is a rotation."""
        x, v = _split(u)
        beta = expand_to(self.beta(t), x)
        return _join(beta / self.mass * v, -beta * x - self.force(u, t, residual))

    def force(self, u: State, t: Time, residual: Noise) -> Noise:
        """friction beta (score + v / M): how the data differ from the prior. Its Normal
        part vanishes with c, and nothing cancels in it."""
        at, (x, v) = self._kernel(t), _split(u)
        rate = self.friction * self.beta(t)
        scale = rate / (self.mass * at.normal_det)
        of_v = -at.c * (1 - at.y / 2) ** 2
        if self.added_var:
            total = at.normal_xx + self.mass * (1 + of_v)
            of_v = of_v + self.added_var * (total / self.mass - 1)
        normal = expand_to(scale * at.normal_xv, x) * x + expand_to(scale * of_v, v) * v
        push = rate / self._velocity_root(at)
        return normal - expand_to(push, residual) * residual

    def prior_sample(self, key: PRNGKey, z_shape: tuple[int, ...]) -> State:
        x, v = _split(jax.random.normal(key, self.state_shape(z_shape)))
        return _join(x, math.sqrt(self.mass) * v)

    def prior_log_prob(self, u: State) -> PerExample:
        x, v = _split(u)
        square = x**2 + v**2 / self.mass
        return -0.5 * sum_per_example(square + 2 * LOG_2PI + math.log(self.mass))

    def bound_constant(self, t_min: float) -> float:
        """log(2 pi e nu) / 2, Eq. (6)."""
        (nu,) = on_host(self.data_noise, [t_min])
        if not nu > 0:
            raise ValueError(f"t_min = {t_min}: the variance there must be positive")
        return 0.5 * (1 + LOG_2PI + math.log(nu))

    def normal_bound(self, z0: Clean, t_min: float) -> Clean:
        """log(2 pi e nu) / 2 and Eq. (7) at t_min; the other terms replace its end,
        N at t = 1, by the prior's."""
        nu = self.data_noise(jnp.full((1,), t_min))[0]
        start = 0.5 * ((z0**2 - 1) / (1 + nu) + jnp.log1p(nu) + 1 + LOG_2PI)
        last = self.data_noise(jnp.ones((1,)))[0]
        end = 0.5 * ((z0**2 - 1) / (1 + last) + jnp.log1p(1 / last))
        return start + self.prior_kl(z0) - end

    def prior_kl(self, z0: Clean) -> Clean:
        one = jnp.ones((1,))
        y, e = (x[0] for x in self._kernel(one)[:2])
        of_x, of_v = (share[0] for share in self._mean(one))
        # Traces and determinant over M, counted from those of the prior.
        trace = e * (self.gamma * (1 - y + y**2 / 2) - 2 - y**2)
        det = trace + (1 - self.gamma) * e**2
        mean2 = of_x**2 + of_v**2 / self.mass
        return 0.5 * (mean2 * z0**2 + trace - jnp.log1p(det))

    def data_noise(self, t: Time) -> Time:
        """nu of Eq. (6): what variance of noise on z_0 the state at t amounts to."""
        return self.noise_at(self.elapsed(t))

    def noise_at(self, y: Time) -> Time:
        """nu when y has passed."""
        at = self._kernel_at(y)
        signal = self.gamma * at.e - jnp.expm1(-at.y) + at.y + at.y**2 / 2
        if self.added_var:
            mean2 = (1 + at.y / 2) ** 2 + self.mass * at.y**2 / 4
            signal = signal + self.added_var / self.mass * mean2
        return at.y**3 * at.det / (at.e * signal)

    def _mean(self, t: Time) -> tuple[Time, Time]:
        """Eq. (2) for z_0 = 1."""
        y = self.elapsed(t)
        decay = jnp.exp(-y / 2)
        return decay * (1 + y / 2), -decay * self.friction * y / 4

    def _velocity_root(self, at: _Kernel) -> Array:
        """The last entry of L, 1 / l."""
        return jnp.sqrt(self.mass * at.y * at.det / at.xx)

    def _miss(self, at: _Kernel) -> Array:
        """y xx (a k - b) / sqrt(e) of Eq. (8), where both terms have one sign."""
        return self.friction * at.y**2 * at.xx / 4 + at.xv * (1 + at.y / 2)

    def _velocity_var(self, at: _Kernel) -> Array:
        """Svv of Eq. (3)."""
        start = self.gamma * at.e * (1 - at.y / 2) ** 2
        return self.mass * (at.p + 2 * at.y * at.e + start)

    def _kernel(self, t: Time) -> _Kernel:
        return self._kernel_at(self.elapsed(t))

    def _kernel_at(self, y: Time) -> _Kernel:
        e = jnp.exp(-y)
        c = (1 - self.gamma) * e
        p, k, d = differences(y)
        left = y + self.gamma * (1 - y / 2)
        spread = self.gamma * (1 - y + y**2 / 2) + y * (1 - y / 2)
        at = _Kernel(
            y=y,
            e=e,
            c=c,
            p=p * y**3,
            xx=y * p + self.gamma * e / 4,
            xv=self.friction * e * left / 4,
            det=y * d + self.gamma * e * k,
            normal_xx=1 - c * y**2 / 4,
            normal_xv=-c * self.friction * y * (1 - y / 2) / 4,
            normal_det=e * spread - jnp.expm1(-y),
        )
        return self._add(at) if self.added_var else at

    def _add(self, at: _Kernel) -> _Kernel:
        """The same with ``added_var`` on both diagonals."""
        added = self.added_var
        total = at.y**2 * at.xx + self._velocity_var(at) + added
        normal_vv = self.mass * (1 - at.c * (1 - at.y / 2) ** 2)
        normal_total = at.normal_xx + normal_vv + added
        return at._replace(
            xx=at.xx + added / at.y**2,
            det=at.det + added * total / (self.mass * at.y**3),
            normal_xx=at.normal_xx + added,
            normal_det=at.normal_det + added * normal_total / self.mass,
        )


def _split(u: State) -> tuple[Array, Array]:
    """Positions and velocities."""
    num = u.shape[-1] // 2
    return u[..., :num], u[..., num:]


def _join(x: Array, v: Array) -> Array:
    return jnp.concatenate([x, v], axis=-1)


def differences(y: Time) -> tuple[Time, Time, Time]:
    """P / y^3, K / y^3 and D / y^4 of Eq. (4), finite at y = 0."""
    # Each form is given numbers that it can hold, for derivatives see both.
    small, large = jnp.minimum(y, _SERIES_UP_TO), jnp.maximum(y, _SERIES_UP_TO)
    e = jnp.exp(-small)
    series = (
        e * _tail(small, 3, 1),
        _tail(-small, 3, 1),
        2 * e * _tail(small**2, 4, 2),
    )
    e, rise = jnp.exp(-large), -jnp.expm1(-large)
    direct = (
        (rise - e * (large + large**2 / 2)) / large**3,
        (rise - large + large**2 / 2) / large**3,
        (rise**2 - large**2 * e) / large**4,
    )
    return tuple(
        jnp.where(y < _SERIES_UP_TO, a, b) for a, b in zip(series, direct, strict=True)
    )  # type: ignore


def _tail(x: Array, first: int, stride: int) -> Array:
    """sum_j x^j / (first + stride j)!."""
    total = jnp.zeros_like(x)
    for j in reversed(range(_TERMS)):
        total = total * x + 1 / math.factorial(first + stride * j)
    return total

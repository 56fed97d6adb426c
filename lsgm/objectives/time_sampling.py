r"""Where the time integral of an objective is looked at.

An objective int_{t_min}^1 w(t) h(t) dt is estimated by one draw per example,

    w(t) / r(t) h(t),  t ~ r,  int_{t_min}^1 r(t) dt = 1.                  (1)

The weight w and the density r are separate pieces, so the same draw serves several
weights: LSGM's "reweighting" of the prior's draws for the encoder is another w over
the same r. For h = e(t), the error on Normal data, the variance of (1) is least for

    r(t) = w(t) e(t) / Z,  Z = int_{t_min}^1 w e dt,                       (2)

then w / r = Z / e. Where nothing is known of the error, r = w / Z leaves the integrand
to be h itself; for CLD's likelihood weight that Z is in closed form,

    int friction beta l^2 dt = log det S / 2 + friction B / M.             (3)

Times come from uniform numbers rho through the inverse of the
distribution function, so rho is what is drawn, and stratifying it over the batch
stratifies the times.

Source: LSGM, arXiv 2106.05931, importance sampling of t. Eq. (3): own derivation.
"""

import abc
import dataclasses

import jax.numpy as jnp

from lsgm.numerics import on_host, uniform
from lsgm.objectives.tabulation import tabulate
from lsgm.objectives.weighting import Weighting
from lsgm.sdes.base import SDE
from lsgm.typing import Array, PerExample, PRNGKey, PRNGKeys, Time


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimeSampler(abc.ABC):
    """Contract: uniform numbers to times and their density on [t_min, 1].

    Attributes:
      t_min: where the time integral starts.
      stratified: one shared uniform shift of an even grid over the global batch
        instead of independent draws; same mean, less variance.
      reference_compatible: densities as LSGM's published code takes them, which
        do not all integrate to one.
    """

    t_min: float = 1e-2
    stratified: bool = False
    reference_compatible: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.t_min < 1:
            raise ValueError(f"t_min must lie in [0, 1), not {self.t_min}")

    @abc.abstractmethod
    def times(self, sde: SDE, rho: PerExample) -> tuple[Time, PerExample]:
        """Times for ``rho`` in [0, 1), and their density r, Eq. (1)."""

    def rho(
        self, key: PRNGKey, keys: PRNGKeys, indices: Array, batch_size: int
    ) -> PerExample:
        """Uniform numbers in [0, 1), one per example.

        Args:
          key: shared by the whole global batch; used when stratified.
          keys: one per example on this device; used otherwise.
          indices: these examples' places in the global batch, int32 [b].
          batch_size: size of the global batch.
        """
        if not self.stratified:
            return uniform(keys)
        shift = uniform(key[None])
        return jnp.mod(shift + indices.astype(shift.dtype) / batch_size, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uniform(TimeSampler):
    """Uniform on [t_min, 1]; the published code leaves out the interval's length."""

    def times(self, sde: SDE, rho: PerExample) -> tuple[Time, PerExample]:
        del sde
        length = 1 - self.t_min
        density = 1.0 if self.reference_compatible else 1 / length
        return self.t_min + length * rho, jnp.full_like(rho, density)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Importance(TimeSampler):
    """The density (2) that is optimal for ``weighting`` on Normal data.

    In closed form where the process has one, from a table elsewhere. Raises
    ValueError in ``times`` where (2) is not a density.
    """

    weighting: Weighting

    def times(self, sde: SDE, rho: PerExample) -> tuple[Time, PerExample]:
        sde = sde.proposal
        integral = self.weighting.integral(sde)
        if integral is None:
            integral = tabulate(sde, self.weighting, self.t_min)
        low, high = map(float, on_host(integral.value, [self.t_min, 1.0]))
        t = integral.inverse((1 - rho) * low + rho * high)
        # Rounding in the inverse must not leave the interval.
        t = jnp.clip(t, self.t_min, 1.0)
        total = high - low
        if self.reference_compatible:
            total = total * integral.published_scale
        return t, self.weighting(sde, t) * sde.normal_error(t) / total


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proportional(TimeSampler):
    """Density in proportion to ``weighting``, whatever the error: a loss with this
    weight is then Z h. By table, tested against Eq. (3)."""

    weighting: Weighting

    def times(self, sde: SDE, rho: PerExample) -> tuple[Time, PerExample]:
        integral = tabulate(sde, self.weighting, self.t_min, with_error=False)
        (total,) = map(float, on_host(integral.value, [1.0]))
        t = jnp.clip(integral.inverse(rho * total), self.t_min, 1.0)
        return t, self.weighting(sde, t) / total

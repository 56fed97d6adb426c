"""From noise to latents, counting network calls.

A sampler receives ``residual_fn(u, t) -> r``: what the network adds to the exact
noise predictor of Normal data (``lsgm.sdes.base``, Eq. 4). The full prediction is
``sde.normal_eps(u, t) + r``, of the noised part's shape. Each evaluation of
``residual_fn`` is one network call, and is counted where it is made.
"""

import abc
import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from lsgm.sdes.base import SDE
from lsgm.typing import Array, PRNGKey, PyTree, ResidualFn, State


class Samples(NamedTuple):
    """What a sampler returns.

    Attributes:
      u: state at the end of the reverse process, [b *s]; NaN where a sampler gave up.
      nfe: network calls per sample, int32 scalar; all calls count, also those of
        rejected steps, of choosing the first step, and of a final denoising.
      path: states along the way, from noise to data, [num_path b *s]; None where
        no path was asked for.
    """

    u: Array
    nfe: Array
    path: Array | None = None


def require_finite(values: PyTree, what: str) -> None:
    """Check on the host what samplers computed on devices.

    Args:
      what: named in the message.

    Raises:
      FloatingPointError: a number is not finite.
    """
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(values)):
        raise FloatingPointError(
            f"{what} are not all finite: either the network's output is not, or an "
            "adaptive sampler gave up after its max_steps attempts"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler(abc.ABC):
    """Contract: owns its time grid or tolerances, knows no network."""

    t_end: float = 1e-5

    def __post_init__(self) -> None:
        if not 0 < self.t_end < 1:
            raise ValueError(f"t_end must lie in (0, 1), not {self.t_end}")

    def check(self, sde: SDE) -> None:
        """Raise ValueError if this method is not valid for ``sde``."""
        del sde

    @abc.abstractmethod
    def __call__(
        self,
        key: PRNGKey,
        sde: SDE,
        residual_fn: ResidualFn,
        u1: State,
        *,
        num_path: int = 0,
    ) -> Samples:
        """Run the reverse process from ``u1`` at t = 1 to ``t_end``.

        Args:
          u1: a state as ``sde.prior_sample`` makes it; ``sde.lower`` of the result
            are the samples.
          num_path: how many states to keep along the way, ends included; 0 keeps
            none.
        """

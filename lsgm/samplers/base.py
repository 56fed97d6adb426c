"""From noise to latents, counting network calls.

A sampler receives ``residual_fn(u, t) -> r``: what the network adds to the exact
noise predictor of Normal data (``lsgm.sdes.base``, Eq. 4). The full prediction is
``sde.normal_eps(u, t) + r``. Each evaluation of ``residual_fn`` is one network
call, and is counted where it is made.
"""

import abc
import dataclasses
from typing import NamedTuple

from lsgm.sdes.base import SDE
from lsgm.typing import Array, PRNGKey, ResidualFn, State


class Samples(NamedTuple):
    """What a sampler returns.

    Attributes:
      u: state at the end of the reverse process, [b *s].
      nfe: network calls per sample, int32 scalar; all calls count, also those of
        rejected steps, of choosing the first step, and of a final denoising.
      path: states along the way, from noise to data, [num_path b *s]; None where
        no path was asked for.
    """

    u: Array
    nfe: Array
    path: Array | None = None


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
          num_path: how many states to keep along the way, ends included; 0 keeps
            none.
        """

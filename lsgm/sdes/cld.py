"""Critically-damped Langevin diffusion at a rate that is linear in time.

Source: Dockhorn et al., arXiv 2112.07068.
"""

import dataclasses

from lsgm.sdes.langevin import Langevin
from lsgm.typing import Time


@dataclasses.dataclass(frozen=True, kw_only=True)
class CLD(Langevin):
    """CLD as published.

    Attributes:
      beta_0, beta_1: the rate at t = 0 and t = 1, linear between. (The published
        configs name the slope: 4, 0 there is 4, 4 here.)
    """

    beta_0: float = 4.0
    beta_1: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("beta_0", "beta_1"):
            if not getattr(self, name) > 0:
                value = getattr(self, name)
                raise ValueError(f"{name} must be positive, not {value}")

    def beta(self, t: Time) -> Time:
        return self.beta_0 + (self.beta_1 - self.beta_0) * t

    def elapsed(self, t: Time) -> Time:
        slope = self.beta_1 - self.beta_0
        return 4 / self.friction * (self.beta_0 * t + 0.5 * slope * t**2)

r"""A number with its error, unit and direction: the one type of all results.

The mean m of n independent values with standard deviation s has the standard error
s / sqrt(n), and lies within

    m +- q s / sqrt(n)                                                     (1)

in 95 of 100 cases: q = 1.96 where n is large, and Student's t_{0.975, n-1} where the
n values are few and Normal (4.30 for three of them).
"""

import dataclasses
import math
from typing import Any, Literal

import numpy as np

LEVEL, NORMAL = 0.95, 1.96


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number, and how far to trust it.

    Attributes:
      standard_error: None where it is not known.
      unit: such as "nats"; empty of a pure number.
      better: which direction is an improvement; None where neither is.
      degrees: of freedom of Student's t in Eq. (1); None for the Normal's 1.96.
    """

    value: float | int
    standard_error: float | None = None
    unit: str = ""
    better: Literal["lower", "higher"] | None = None
    degrees: int | None = None

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval of Eq. (1); None without a standard error."""
        if self.standard_error is None:
            return None
        quantile = NORMAL
        if self.degrees is not None:
            from scipy.special import stdtrit

            quantile = float(stdtrit(self.degrees, 0.5 + LEVEL / 2))
        return quantile * self.standard_error


def estimate_mean(values: np.ndarray, **fields: Any) -> Estimate:
    """Mean over independent values [n], numbers or truths, with its standard error.

    The error of a single value is NaN.

    Args:
      fields: further ones of the estimate.
    """
    values = values.astype(np.float64)
    spread = values.std(ddof=1) if values.size > 1 else math.nan
    error = float(spread / math.sqrt(values.size))
    return Estimate(value=float(values.mean()), standard_error=error, **fields)


def estimate_ratio(values: np.ndarray, counts: np.ndarray, **fields: Any) -> Estimate:
    r"""Ratio of sums over independent pairs (a_i, b_i), [n] each: never the mean of
    ratios, which weighs examples of few counts too much. By the delta method

        rho = sum a_i / sum b_i,   se(rho) = sd(a_i - rho b_i) / (mean(b) sqrt(n)).  (2)

    The error of a single pair is NaN.

    Args:
      fields: further ones of the estimate.
    """
    values, counts = values.astype(np.float64), counts.astype(np.float64)
    ratio, mean = float(values.mean() / counts.mean()), float(counts.mean())
    left = values - ratio * counts
    spread = left.std(ddof=1) if left.size > 1 else math.nan
    error = float(spread / (mean * math.sqrt(left.size)))
    return Estimate(value=ratio, standard_error=error, **fields)

r"""UniPC of order 2: a predictor whose next call also corrects it.

With lambda = log(alpha / sigma), h = lambda_s - lambda_t, B = e^{-h} - 1 and x the
predicted data, a step from t to s predicts

    p = (sigma_s / sigma_t) u_t - alpha_s B (x_t + d / 2),                 (1)
    d = (x_before - x_t) / r,  r = (lambda_before - lambda_t) / h < 0.     (2)

The call at s, made for the next step anyway, gives x_s, and corrects p by

    u_s = p - alpha_s B ((c_1 - 1/2) d + c_2 (x_s - x_t)),                 (3)
    c_1 + c_2 = b_1,  r c_1 + c_2 = b_2,                                   (4)
    b_1 = psi / B,  b_2 = 2 (-psi / h - 1/2) / B,  psi = -B / h - 1.       (5)

The first step has d = 0 and c_2 = 1/2. The last has d = 0 and is not corrected. All
of this is linear in the predictions: a row of the table corrects the step before and
predicts the next, so states along the path are predictions. One call per step.

Source: Zhao et al., arXiv 2302.04867, Algorithms 5 to 8 with B(h) = e^h - 1.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from lsgm.samplers.fixed_grid import FixedGrid, Table
from lsgm.samplers.grids import Grid, LogSNR, marginals
from lsgm.sdes.scalar import ScalarSDE


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniPC(FixedGrid):
    """Eqs. (1) to (5); ``num_steps`` calls."""

    order: ClassVar[int] = 2

    grid: Grid = LogSNR()

    def table(self, sde: ScalarSDE) -> Table:
        times = self.grid(sde, self.t_start, self.t_end, self.num_steps)
        at = marginals(sde, times)
        now, then = at.steps()
        h = -np.diff(np.log(at.kappa))
        keep = then.sigma / now.sigma
        gain = -then.alpha * np.expm1(-h)
        correct = np.zeros((self.num_steps, 3))
        correct[1:] = gain[:-1, None] * _corrections(h)[:-1]
        return {
            "t": now.t,
            "keep": keep,
            "anchor": now.data_u,
            "scale": now.data_r,
            "weights": keep[:, None] * correct + gain[:, None] * _predictions(h),
        }


def _predictions(h: np.ndarray) -> np.ndarray:
    """Eq. (1) over -alpha_s B in terms of x_t, x_before: [steps, 3]."""
    half = np.zeros_like(h)
    half[1:-1] = 0.5 * h[1:-1] / h[:-2]
    return np.stack([1 + half, -half, 0 * half], axis=-1)


def _corrections(h: np.ndarray) -> np.ndarray:
    """Eq. (3) over -alpha_s B in terms of x_s, x_t, x_before: [steps, 3]."""
    b = np.expm1(-h)
    psi = -b / h - 1
    b1, b2 = psi / b, 2 * (-psi / h - 0.5) / b
    r = np.concatenate([[-1.0], -h[:-1] / h[1:]])
    c1 = (b1 - b2) / (1 - r)
    c2 = b1 - c1
    over_r = (c1 - 0.5) / r
    over_r[0], c2[0] = 0.0, 0.5
    return np.stack([c2, -c2 - over_r, over_r], axis=-1)

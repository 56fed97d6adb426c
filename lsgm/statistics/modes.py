r"""How many modes of a distribution its samples reach.

A sample belongs to the nearest of m centers if it is within so many deviations of it.
With n_j samples at mode j, q_j = n_j / sum n,

    covered = #{j : n_j >= least},   near = sum n / all samples,
    KL(q | uniform) = sum_j q_j log(m q_j).                                (1)

A model that drops modes has few covered and a high divergence; one that fills the gaps
between them has few samples near one. Source: the measures of VEEGAN, arXiv 1705.07761,
and of PacGAN, arXiv 1712.04086, for 25 Gaussians and StackedMNIST.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

# Within so many deviations a sample counts as one of a mode.
RADIUS = 4.0


class Coverage(NamedTuple):
    """Eq. (1).

    Attributes:
      covered: modes that enough samples reach; num_modes: how many there are.
      near: portion of the samples that belong to one.
      kl_to_uniform: in nats, of those that do; log m where none does.
    """

    covered: int
    num_modes: int
    near: float
    kl_to_uniform: float


def assign_modes(
    points: Float[np.ndarray, "n d"],
    centers: Float[np.ndarray, "m d"],
    deviation: float,
) -> Int[np.ndarray, " n"]:
    """The mode that each point belongs to, -1 where it belongs to none.

    Args:
      deviation: of each mode, the same in all directions.
    """
    distance = np.linalg.norm(points[:, None] - centers[None], axis=-1)
    near = distance.min(1) <= RADIUS * deviation
    return np.where(near, distance.argmin(1), -1)


def count_coverage(
    labels: Int[np.ndarray, " n"], num_modes: int, least: int = 1
) -> Coverage:
    """Eq. (1) from the mode of each sample, -1 for none.

    Args:
      least: samples that make a mode covered.

    Raises:
      ValueError: no sample at all, or a label that is no mode.
    """
    if not len(labels):
        raise ValueError("labels of 0 samples: nothing to count")
    if labels.min() < -1 or labels.max() >= num_modes:
        raise ValueError(
            f"labels from {labels.min()} to {labels.max()}: there are {num_modes} modes"
        )
    counts = np.bincount(labels[labels >= 0], minlength=num_modes)
    found = counts.sum()
    kl = float(np.log(num_modes))
    if found:
        q = counts[counts > 0] / found
        kl = float(np.sum(q * np.log(num_modes * q)))
    return Coverage(int((counts >= least).sum()), num_modes, found / len(labels), kl)

r"""Are samples copies of training images?

The distance of a sample to its nearest training image says nothing alone. Beside the
distances d of held-out real images to theirs it does: a model that copies has smaller
ones. With s_1..s_m of samples and d_1..d_n of held-out images,

    U = #{(i, j) : s_i > d_j} + #{s_i = d_j} / 2,                          (1)
    nearer = 1 - U / (m n),                                                (2)
    z = (U - m n / 2) / sqrt(m n (m + n + 1) / 12):                        (3)

the share of pairs in which the sample is nearer to the training images, 0.5 for held-
out quality, and Mann and Whitney's normal score, below -2 or so for a model that
copies and above 2 for one whose samples lie off the data. Eq. (3) is the test C_T of
data copying with one cell in place of a partition: copies of a few images can hide in
an average, so look at the sheet, which shows the nearest. Distances are taken between
features, and between pixels; smooth samples are near to everything in pixels.

Source: Meehan, Chaudhuri, Dasgupta, arXiv 2004.05675.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu

from lsgm.reports import plots
from lsgm.reports.page import Figure, Section
from lsgm.statistics.nearest import Nearest, Neighbours
from lsgm.typing import Float, UInt8

Images = Float[np.ndarray, "n h w c"]

Extract = Callable[[Any], np.ndarray]
SPACES = {"features": "between features", "pixels": "between pixels"}
COLUMNS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memorization:
    """How much is looked at.

    Attributes:
      num_images: samples, and held-out images, at most.
      num_neighbours: training images beside a sample on the sheet.
      num_shown: samples on the sheet, those that are nearest to a training image.
    """

    num_images: int = 500
    num_neighbours: int = 3
    num_shown: int = 12

    def __post_init__(self) -> None:
        for name in ("num_images", "num_neighbours", "num_shown"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least 1")


def neighbours(
    images: Images, train: Iterable[np.ndarray], extract: Extract, num: int
) -> dict[str, Neighbours]:
    """The ``num`` nearest training images of each image, by space.

    Args:
      images: in [0, 1]. train: batches [b h w c] in [0, 1].
      extract: images to features.
    """
    views = {"features": extract, "pixels": lambda x: x.reshape(len(x), -1)}
    nearest = {name: Nearest(view(images), num) for name, view in views.items()}
    for batch in train:
        for name, view in views.items():
            nearest[name].see(view(batch))
    return {name: found.found() for name, found in nearest.items()}


def compared(
    samples: Float[np.ndarray, " m"], held_out: Float[np.ndarray, " n"]
) -> dict[str, float]:
    """Eqs. (2) and (3) for distances to the nearest training image."""
    m, n = len(samples), len(held_out)
    test = mannwhitneyu(samples, held_out, alternative="less", method="asymptotic")
    spread = np.sqrt(m * n * (m + n + 1) / 12)
    return {
        "nearer": float(1 - test.statistic / (m * n)),
        "z": float((test.statistic - m * n / 2) / spread),
        "p_value": float(test.pvalue),
        "median_samples": float(np.median(samples)),
        "median_held_out": float(np.median(held_out)),
    }


def of_first(found: Neighbours, num: int) -> Neighbours:
    """Neighbours of the first ``num`` images only."""
    return Neighbours(found.distances[:num], found.indices[:num])


def sheet(
    samples: Images,
    found: dict[str, Neighbours],
    take: Callable[[np.ndarray], UInt8[np.ndarray, "_ h w c"]],
    num_shown: int,
) -> Section:
    """Samples beside their nearest training images, nearest samples first.

    Args:
      found: of the samples, by space.
      take: training images by position.
    """
    figures = []
    for space, (distances, indices) in found.items():
        first = np.argsort(distances[:, 0], kind="stable")[:num_shown]
        rows = [_row(samples[i], take(indices[i])) for i in first]
        figures.append(
            Figure(
                png=plots.png(plots.grid(np.stack(rows), COLUMNS)),
                caption=f"Distances {SPACES[space]}: a sample, and to its right the "
                f"{indices.shape[1]} nearest training images.",
            )
        )
    text = (
        "The samples that are nearest to a training image. Simple images have near "
        "neighbours without being copies; a copy is one in every detail."
    )
    return Section(title="Nearest training images", figures=figures, text=text)


def _row(
    sample: Float[np.ndarray, "h w c"], near: UInt8[np.ndarray, "k h w c"]
) -> UInt8[np.ndarray, "h _ c"]:
    """A sample, a gap, its neighbours, and a gap to the next row's sample."""
    own = plots.to_bytes(sample[None])[0]
    gap = np.full(
        (own.shape[0], max(1, own.shape[1] // 8), own.shape[2]), 255, np.uint8
    )
    wide = np.concatenate([gap, gap], axis=1)
    return np.concatenate([own, gap, *near, wide], axis=1)

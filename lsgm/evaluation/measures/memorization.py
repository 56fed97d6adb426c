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
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from lsgm.evaluation.measures.base import Measure, Needs, require_positive
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.features.real_images import real_images, some_real_images
from lsgm.reports import plots
from lsgm.reports.page import Figure, Metric, Section
from lsgm.statistics.nearest import Nearest, Neighbours
from lsgm.typing import Float, UInt8

Images = Float[np.ndarray, "n h w c"]

Extract = Callable[[Any], np.ndarray]
SPACES = {"features": "between features", "pixels": "between pixels"}
COLUMNS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memorization(Measure):
    """Samples, and held-out images, against their nearest training images.

    Attributes:
      num_images: samples, and held-out images, at most.
      num_neighbours: training images beside a sample on the sheet.
      num_shown: samples on the sheet, those that are nearest to a training image.
    """

    name: ClassVar[str] = "memorization"
    must_agree: ClassVar[tuple[str, ...]] = (
        "num_samples",
        "num_held_out",
        "num_train",
        "held_out_split",
    )
    card_must_agree: ClassVar[tuple[str, ...]] = ("extractor_provenance", "data")

    num_images: int = 500
    num_neighbours: int = 3
    num_shown: int = 12

    def __post_init__(self) -> None:
        require_positive(self, "num_images", "num_neighbours", "num_shown")

    @property
    def needs(self) -> Needs:
        """Features, and the images that are looked up."""
        return Needs(extractor=True, num_images=self.num_images)

    def run(self, run: EvaluationRun) -> Result:
        """Eqs. (2) and (3) in either space, and the sheet of the nearest."""
        settings, data = run.subject.settings, run.subject.data
        extractor = settings.require_extractor()
        samples = run.generated.images[: self.num_images]
        bits, split = settings.reference_bits, settings.baseline_split
        held_out = some_real_images(data, split, len(samples), num_bits=bits)
        found = neighbours(
            np.concatenate([samples, held_out]),
            real_images(data, "train", settings.batch_size, num_bits=bits),
            extractor,
            self.num_neighbours,
        )
        num = len(samples)
        metrics: dict[str, Any] = {
            space: compared(near.distances[:num, 0], near.distances[num:, 0])
            for space, near in found.items()
        }
        metrics |= {
            "num_samples": num,
            "num_held_out": len(held_out),
            "num_train": data.num_examples("train"),
            "held_out_split": split,
            "extractor": extractor.name,
        }
        own = {space: of_first(near, num) for space, near in found.items()}

        def take(indices: np.ndarray) -> np.ndarray:
            return data.open("train").take(indices)["levels"]

        section = sheet(samples, own, take, self.num_shown)
        return Result(metrics=metrics, sections=[section])

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        """Eqs. (2) and (3) in either space."""
        where = (
            f"{found['num_samples']} samples, {found['num_held_out']} images of split "
            f"{found['held_out_split']}, {found['num_train']} training images"
        )
        rows = [row for space in SPACES for row in _rows(space, found[space])]
        return {f"Memorization ({where})": rows}


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
    from scipy.stats import mannwhitneyu

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


def _rows(space: str, found: Mapping[str, float]) -> list[Metric]:
    medians = f"{found['median_samples']:.3g} against {found['median_held_out']:.3g}"
    return [
        Metric(
            label=f"Nearer to a training image than held-out images, {space}",
            value=found["nearer"],
            unit="of pairs",
            note=f"0.5 is as near; median distances {medians}",
        ),
        Metric(
            label=f"Mann-Whitney z, {space}",
            value=found["z"],
            note="below -2 or so: copies",
        ),
    ]

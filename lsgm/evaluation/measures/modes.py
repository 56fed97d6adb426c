"""Which modes of a distribution its samples reach, where these are known.

Points of the plane have the centers that their data name (``Data.modes``). Stacked
digits have 1000 modes: a classifier reads the digit in each of three colours.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lsgm.data.pipeline import Modes
from lsgm.evaluation.measures.base import Measure, Needs, require_positive
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.features.classifier import ClassifierFeatures
from lsgm.reports.page import Metric
from lsgm.statistics.modes import Coverage, assign_modes, count_coverage
from lsgm.typing import Array, Float, Int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModeCoverage(Measure):
    """Modes that samples of points reach, how many are near one, and how evenly.

    Attributes:
      num_samples: that are looked at.
      least: of them that make a mode covered.
    """

    name: ClassVar[str] = "modes"
    must_agree: ClassVar[tuple[str, ...]] = ("num_modes", "num_samples", "least")

    num_samples: int = 5000
    least: int = 1

    def __post_init__(self) -> None:
        require_positive(self, "num_samples", "least")

    @property
    def needs(self) -> Needs:
        """The samples."""
        return Needs(num_images=self.num_samples)

    def run(self, run: EvaluationRun) -> Result:
        """Counts of the samples."""
        samples = np.asarray(run.generated.images[: self.num_samples])
        labels, num_modes = self.assign(run, samples)
        found = count_coverage(labels, num_modes, self.least)
        numbers = {"num_samples": len(samples), "least": self.least}
        return Result(metrics=found._asdict() | numbers)

    def assign(
        self, run: EvaluationRun, samples: Float[np.ndarray, "n h w c"]
    ) -> tuple[Int[np.ndarray, " n"], int]:
        """The mode of each sample, -1 for none, and how many modes there are.

        Raises:
          ValueError: data whose modes are not known.
        """
        modes = run.subject.data.modes
        if modes is None:
            raise ValueError(
                "measures.modes: these data name no modes; take points 'gaussians' or "
                "'diamond', or leave the measure out"
            )
        return _nearest(samples, modes), len(modes.centers)

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        """Covered modes, samples near one, and the divergence from even counts."""
        covered = Metric(
            label=f"Modes covered, of {found['num_modes']}",
            value=found["covered"],
            better="higher",
            note=f"by at least {found['least']} of {found['num_samples']} samples",
        )
        near = Metric(label="Samples at a mode", value=found["near"], better="higher")
        kl = Metric(
            label="KL of counts by mode to even ones",
            value=found["kl_to_uniform"],
            unit="nats",
            better="lower",
        )
        return {"Modes": [covered, near, kl]}

    @classmethod
    def headline(cls, found: Mapping[str, Any]) -> Sequence[Metric]:
        """How many modes are covered."""
        return cls.rows(found)["Modes"][:1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StackedModeCoverage(ModeCoverage):
    """Of 1000 triples of digits, those that a classifier finds in the samples.

    Published are 25,600 samples. Every sample counts as one of some triple, so that
    ``near`` is 1; a blurred digit is read as one all the same.

    Attributes:
      classifier: of digits in one channel, which reads each colour by itself.
    """

    num_samples: int = 25_600
    classifier: ClassifierFeatures = ClassifierFeatures()

    def assign(
        self, run: EvaluationRun, samples: Float[np.ndarray, "n h w c"]
    ) -> tuple[Int[np.ndarray, " n"], int]:
        """100 a + 10 b + c, of the digits in the three colours."""
        del run
        return read_triples(samples, self.classifier), 1000


def read_triples(
    images: Float[np.ndarray, "n h w 3"], classifier: ClassifierFeatures
) -> Int[np.ndarray, " n"]:
    """The number that three digits make, the first colour's the hundreds.

    Images may have a border, which is cut off.
    """
    height, width, _ = classifier.provenance["image_shape"]
    top, left = (
        (have - want) // 2
        for have, want in zip(images.shape[1:3], (height, width), strict=True)
    )
    inner = images[:, top : top + height, left : left + width]
    digits = [classifier.classify(inner[..., i : i + 1]) for i in range(3)]
    return 100 * digits[0] + 10 * digits[1] + digits[2]


def cover_modes(
    samples: Float[np.ndarray | Array, "n h w c"], modes: Modes
) -> Coverage:
    """Coverage by samples of points, a mode being covered by one."""
    return count_coverage(_nearest(np.asarray(samples), modes), len(modes.centers))


def _nearest(samples: np.ndarray, modes: Modes) -> np.ndarray:
    points = samples.reshape(len(samples), -1)
    return assign_modes(points, modes.centers.astype(points.dtype), modes.deviation)

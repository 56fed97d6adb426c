"""How near samples come to real images: distances, manifolds, a classifier.

All are taken between features of an extractor. Beside every number of the samples
stands the same of real images, as many as there are up to the number of samples: what
a perfect model would get. For that the reference and another split are pooled and
divided at random, because splits that were made class by class are more alike than
independent draws are; where a file keeps a part of the reference's features only, the
other split is compared as it is. Features of all samples and images are held, images
are not; what costs the square of their number takes at most ``MAX_PAIRED`` of each,
drawn at random.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lsgm.evaluation.measures.base import Measure, Needs
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun, Subject
from lsgm.features.classifier import frechet_name, kernel_name
from lsgm.features.real_images import real_images
from lsgm.features.reference import Statistics
from lsgm.reports.ledger import Reproduced
from lsgm.reports.page import Metric, format_value
from lsgm.statistics.estimate import Estimate
from lsgm.statistics.frechet import (
    NUM_GROUPS,
    Features,
    Sampled,
    frechet_estimate,
    moments,
)
from lsgm.statistics.kernel import kernel_distance
from lsgm.statistics.manifolds import Manifolds
from lsgm.statistics.two_sample import told_apart

MAX_PAIRED = 10_000
BETTER: Mapping[str, Any] = {
    "frechet": "lower",
    "kernel": "lower",
    "precision": "higher",
    "recall": "higher",
    "density": "higher",
    "coverage": "higher",
    "told_apart": "lower",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distances(Measure):
    """Samples, and held-out real images, against real images of a reference.

    Attributes:
      manifolds: of precision, recall, density and coverage.
    """

    name: ClassVar[str] = "distance"
    must_agree: ClassVar[tuple[str, ...]] = (
        "name",
        "num_samples",
        "num_reference",
        "reference",
    )
    card_must_agree: ClassVar[tuple[str, ...]] = (
        "extractor_provenance",
        "reference_provenance",
        "data",
    )

    manifolds: Manifolds = Manifolds()

    @property
    def needs(self) -> Needs:
        """Features of images."""
        return Needs(extractor=True)

    def run(self, run: EvaluationRun) -> Result:
        """Every number of the samples, and beside it that of real images."""
        settings = run.subject.settings
        extractor, manifolds = settings.require_extractor(), self.manifolds
        # They are there, as the extractor is.
        fake: Any = run.generated.features
        against = settings.reference_statistics(run.subject.data)
        record, total = against.record, against.sampled.moments
        num = len(fake)
        metrics: dict[str, Any] = {
            "name": frechet_name(extractor, num),
            "kernel_name": kernel_name(extractor, min(num, MAX_PAIRED)),
            "extractor": extractor.name,
            "num_samples": num,
            "num_reference": total.count,
            "reference": f"split {record['split']}, {record['num_bits']} bits, not "
            "binarised",
            "precision_neighbour": manifolds.precision_neighbour,
            "density_neighbour": manifolds.density_neighbour,
            "samples": _measured(fake, against, manifolds),
        }
        yardstick = _yardstick(run.subject, against, num)
        if yardstick is not None:
            real, rest, how = yardstick
            metrics |= {
                "real": _measured(real, rest, manifolds),
                "num_real": len(real),
                "real_images": how,
            }
        return Result(metrics=metrics)

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        """The samples' numbers; those of real images in the notes."""
        text = f"{found['num_reference']} of {found['reference']}"
        if "real" in found:
            real = f"{found['num_real']} real images of {found['real_images']}"
            text += f"; beside: {real}"
        return {f"Distance to real images ({text})": _rows(found)}

    @classmethod
    def headline(cls, found: Mapping[str, Any]) -> Sequence[Metric]:
        """The Frechet distance."""
        return _rows(found)[:1]

    @classmethod
    def reproduced(cls, found: Mapping[str, Any]) -> Sequence[Reproduced]:
        """FID, which only the published extractor and enough samples give."""
        own, same = found["samples"].get("frechet"), found["name"] == "FID"
        if own is None:
            return ()
        return [
            Reproduced(
                field="fid",
                ours=Estimate(**own),
                comparable=same,
                note="" if same else f"here {found['name']}, which is another measure",
            )
        ]


def _yardstick(
    subject: Subject, against: Statistics, num: int
) -> tuple[Features, Statistics, str] | None:
    """Features of at most ``num`` real images, what they are compared with, and how
    they came about; None where the other split is the reference's own."""
    settings, extract = subject.settings, subject.settings.require_extractor()
    split, known = settings.baseline_split, against.sampled.features
    if split == against.record["split"]:
        return None
    batches = real_images(
        subject.data, split, settings.batch_size, num_bits=settings.reference_bits
    )
    real = some(np.concatenate([extract(x) for x in batches]), num)
    if len(known) < against.sampled.moments.count:
        return real, against, f"split {split}"
    pool = np.random.default_rng(0).permutation(np.concatenate([real, known]))
    real, known = pool[: len(real)], pool[len(real) :]
    rest = against._replace(sampled=Sampled(moments([known]), known))
    how = f"splits {split} and {against.record['split']}, divided at random"
    return real, rest, how


def some(features: np.ndarray, num: int) -> np.ndarray:
    """At most ``num`` rows, drawn at random."""
    if len(features) <= num:
        return features
    return features[np.random.default_rng(0).permutation(len(features))[:num]]


def _measured(
    features: Features, against: Statistics, manifolds: Manifolds
) -> dict[str, dict[str, Any]]:
    """Every measure, with its standard error; those for which there are too few
    examples are left out."""
    x, y = some(features, MAX_PAIRED), some(against.sampled.features, MAX_PAIRED)
    sampled = Sampled(moments([features]), features)
    least = 1 + max(manifolds.precision_neighbour, manifolds.density_neighbour)
    found: dict[str, Estimate] = {}
    if min(len(x), len(y)) >= max(NUM_GROUPS, least):
        found = {
            "frechet": frechet_estimate(sampled, against.sampled),
            "kernel": kernel_distance(x, y),
            **manifolds(x, y),
            "told_apart": told_apart(x, y),
        }
    return {
        name: {"value": e.value, "standard_error": e.standard_error}
        for name, e in found.items()
    }


def _rows(found: Mapping[str, Any]) -> list[Metric]:
    near, dense = found["precision_neighbour"], found["density_neighbour"]
    labels = {
        "frechet": found["name"],
        "kernel": found["kernel_name"],
        "precision": f"Precision, k = {near}",
        "recall": f"Recall, k = {near}",
        "density": f"Density, k = {dense}",
        "coverage": f"Coverage, k = {dense}",
        "told_apart": "Told apart by a classifier",
    }
    rows = []
    for name, estimate in found["samples"].items():
        note = ""
        if name in found.get("real", {}):
            value, error = found["real"][name].values()
            shown = f"{format_value(value, error)} ± {format_value(error, error)}"
            note = f"real images: {shown}"
        rows.append(
            Metric(label=labels[name], **estimate, better=BETTER[name], note=note)
        )
    return rows

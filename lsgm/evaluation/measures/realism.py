"""How near samples come to real images: distances, manifolds, a classifier, copies.

All are taken between features of an extractor. Beside every number of the samples
stands the same of real images, as many as there are up to the number of samples: what
a perfect model would get. For that the reference and another split are pooled and
divided at random, because splits that were made class by class are more alike than
independent draws are; where a file keeps a part of the reference's features only, the
other split is compared as it is. Features of all samples and images are held, images
are not; what costs the square of their number takes at most ``MAX_PAIRED`` of each,
drawn at random.
"""

from typing import Any

import numpy as np

from lsgm.data.pipeline import Data
from lsgm.evaluation.measures import memorization
from lsgm.evaluation.parts import Result
from lsgm.evaluation.settings import Evaluation
from lsgm.evaluation.subject import Run, Subject
from lsgm.features import reference
from lsgm.features.classifier import frechet_name, kernel_name
from lsgm.features.real_images import real_images, some_real_images
from lsgm.features.reference import Statistics
from lsgm.statistics.frechet import (
    NUM_GROUPS,
    Estimate,
    Features,
    Sampled,
    frechet_estimate,
    moments,
)
from lsgm.statistics.kernel import kernel_distance
from lsgm.statistics.manifolds import Manifolds
from lsgm.statistics.two_sample import told_apart

MAX_PAIRED = 10_000


def check(subject: Subject) -> None:
    """Refuse weights and reference statistics that an evaluation cannot use.

    Raises:
      lsgm.config.ConfigError, lsgm.features.weights_file.WeightsError: which and why.
    """
    settings = subject.settings
    if settings.extractor is not None:
        assert settings.extractor.provenance
        if settings.reference is not None:
            statistics_of(subject.data, settings)


def distance_part(run: Run) -> Result:
    """All measures of samples, and of held-out real images, against the reference."""
    subject, settings = run.subject, run.subject.settings
    extractor, fake = settings.extractor, run.generated.features
    assert fake is not None
    against = statistics_of(subject.data, settings)
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
        "precision_neighbour": settings.manifolds.precision_neighbour,
        "density_neighbour": settings.manifolds.density_neighbour,
        "samples": _measured(fake, against, settings.manifolds),
    }
    yardstick = _yardstick(subject, against, num)
    if yardstick is not None:
        real, rest, how = yardstick
        metrics |= {
            "real": _measured(real, rest, settings.manifolds),
            "num_real": len(real),
            "real_images": how,
        }
    return Result(metrics=metrics)


def statistics_of(data: Data, settings: Evaluation) -> Statistics:
    """Those of the real images that samples are compared with.

    Raises:
      lsgm.config.ConfigError: the settings name a file that does not fit.
    """
    extractor, num_bits = settings.extractor, settings.reference_bits
    if settings.reference is not None:
        return reference.load(settings.reference, data, extractor, num_bits)
    return reference.build(
        data,
        settings.reference_split,
        extractor,
        num_bits=num_bits,
        batch_size=settings.batch_size,
    )


def _yardstick(
    subject: Subject, against: Statistics, num: int
) -> tuple[Features, Statistics, str] | None:
    """Features of at most ``num`` real images, what they are compared with, and how
    they came about; None where the other split is the reference's own."""
    settings = subject.settings
    split, known = settings.baseline_split, against.sampled.features
    if split == against.record["split"]:
        return None
    batches = real_images(
        subject.data, split, settings.batch_size, num_bits=settings.reference_bits
    )
    real = some(np.concatenate([settings.extractor(x) for x in batches]), num)
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
) -> dict[str, dict[str, float]]:
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
    return {name: estimate._asdict() for name, estimate in found.items()}


def memorization_part(run: Run) -> Result:
    """Samples, and held-out images, against their nearest training images."""
    subject, settings = run.subject, run.subject.settings
    asked, data, size = settings.memorization, subject.data, settings.batch_size
    assert asked is not None

    samples, bits = run.generated.images[: asked.num_images], settings.reference_bits
    held_out = some_real_images(
        data, settings.baseline_split, len(samples), num_bits=bits
    )
    found = memorization.neighbours(
        np.concatenate([samples, held_out]),
        real_images(data, "train", size, num_bits=bits),
        settings.extractor,
        asked.num_neighbours,
    )
    num = len(samples)
    metrics: dict[str, Any] = {
        space: memorization.compared(near.distances[:num, 0], near.distances[num:, 0])
        for space, near in found.items()
    }
    metrics |= {
        "num_samples": num,
        "num_held_out": len(held_out),
        "num_train": data.num_examples("train"),
        "held_out_split": settings.baseline_split,
        "extractor": settings.extractor.name,
    }
    own = {space: memorization.of_first(near, num) for space, near in found.items()}

    def take(indices: np.ndarray) -> np.ndarray:
        return data.open("train").take(indices)["levels"]

    section = memorization.sheet(samples, own, take, asked.num_shown)
    return Result(metrics=metrics, sections=[section])

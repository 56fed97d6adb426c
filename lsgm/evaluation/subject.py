"""What is measured, and what several measurements share."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from lsgm.data.pipeline import Data
from lsgm.evaluation import sampling
from lsgm.evaluation.recalibration import recalibrate
from lsgm.evaluation.settings import Evaluation
from lsgm.model import LatentModel
from lsgm.typing import Params


class Subject(NamedTuple):
    """A restored model with its data.

    Attributes:
      card: where it comes from (``lsgm.evaluation.provenance``).
      records: ``metrics.jsonl`` of each stage so far, by stage.
    """

    model: LatentModel
    params: Params
    mutables: Params
    data: Data
    settings: Evaluation
    card: dict[str, Any]
    records: dict[str, pathlib.Path]


class Generated(NamedTuple):
    """What is kept of the samples.

    Attributes:
      images: the first ``Evaluation.num_kept_images``, in [0, 1], [k h w c].
      nfe: network calls of each, [n].
      features: of each, [n d]; None without an extractor.
    """

    images: np.ndarray
    nfe: np.ndarray
    features: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A subject and a seed: all that a measurement is a function of.

    What several measurements need is computed once, when the first asks for it.
    """

    subject: Subject
    seed: int

    @functools.cached_property
    def generator(self) -> Subject:
        """The subject with the statistics to sample with."""
        subject, settings = self.subject, self.subject.settings
        mutables = recalibrate(
            subject.model,
            subject.params,
            subject.mutables,
            num_batches=settings.recalibration_batches,
            batch_size=settings.batch_size,
            seed=self.seed,
            temperature=settings.temperature,
        )
        return subject._replace(mutables=mutables)

    @functools.cached_property
    def generated(self) -> "Generated":
        """The samples that distances and pictures use, as they stream by."""
        settings = self.subject.settings
        nfe, features, images, left = [], [], [], settings.num_kept_images
        for drawn in self.draw(settings.num_samples, settings.batch_size):
            nfe.append(drawn.nfe)
            if settings.extractor is not None:
                features.append(settings.extractor(drawn.images))
            images.append(drawn.images[:left])
            left -= len(images[-1])
        return Generated(
            np.concatenate(images),
            np.concatenate(nfe),
            np.concatenate(features) if features else None,
        )

    def draw(
        self, num: int, batch_size: int, num_path: int = 0
    ) -> Iterator[sampling.Drawn]:
        """Samples as the settings say, batch by batch."""
        generator, settings = self.generator, self.subject.settings
        sample = sampling.sample_fn(
            generator.model,
            min(num, batch_size),
            temperature=settings.temperature,
            batch_statistics=settings.batch_statistics,
            num_path=num_path,
        )
        own = generator.params, generator.mutables
        return sampling.batches(sample, *own, num, self.seed)

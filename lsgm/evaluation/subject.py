"""What is measured, and what several measurements share."""

import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

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
    def drawn(self) -> sampling.Drawn:
        """The samples that distances and pictures use."""
        settings = self.subject.settings
        return self.draw(settings.num_samples, settings.batch_size)

    def draw(self, num: int, batch_size: int, num_path: int = 0) -> sampling.Drawn:
        """Samples as the settings say."""
        generator, settings = self.generator, self.subject.settings
        return sampling.draw(
            generator.model,
            generator.params,
            generator.mutables,
            num,
            seed=self.seed,
            batch_size=batch_size,
            temperature=settings.temperature,
            batch_statistics=settings.batch_statistics,
            num_path=num_path,
        )

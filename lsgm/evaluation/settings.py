"""What an evaluation measures, and what its measures share."""

import dataclasses
import math
from typing import Any

from lsgm.config import ConfigError
from lsgm.data.pipeline import Data
from lsgm.evaluation.measures.base import Measure
from lsgm.features import reference
from lsgm.features.classifier import Extractor
from lsgm.features.reference import Reference, Statistics
from lsgm.hints import missing_members
from lsgm.reports.ledger import Ledger


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Settings of ``experiments/evaluate.py`` and of the checks during training.

    Attributes:
      measures: what is measured, in order; no two of one name.
      split: data split whose images are held out from training.
      batch_size: examples per call of the bound, samples per call of the sampler.
      num_samples: generated images that measures of samples look at.
      monitor_examples: held-out examples for the bound during training.
      monitor_samples: images in the sample grids written during training.
      temperature: factor on the standard deviation of the initial noise.
      batch_statistics: let the decoder use the generated batch's statistics.
      recalibration_batches: generated batches from which the decoder's statistics
        are taken, once, before anything is sampled; 0 keeps those of training.
      extractor: feature extractor that compares images; None compares none.
      reference_split: split of the real images that samples are compared with.
      reference: their statistics, in a file; None computes them from the split.
      reference_bits: bit depth of real images; published references have 8.
      baseline_split: other real images, measured like samples.
      selection_samples: generated images by whose Frechet distance a stage keeps its
        best state, where it does (``lsgm.training.stage.Stage.keep_best``).
      selection_split: split of the real images that this distance is to, not the one
        that is reported; None takes ``monitor_split``.
      ledger: published figures to stand beside; with them a training ends with its
        evaluation.
    """

    measures: tuple[Measure, ...]
    split: str = "test"
    batch_size: int = 100
    num_samples: int = 500
    monitor_examples: int = 500
    monitor_samples: int = 64
    monitor_split: str = "validation"
    temperature: float = 1.0
    batch_statistics: bool = False
    recalibration_batches: int = 0
    extractor: Any = None
    reference_split: str = "test"
    reference: Reference | None = None
    reference_bits: int = 8
    baseline_split: str = "validation"
    selection_samples: int = 2500
    selection_split: str | None = None
    ledger: Ledger | None = None

    def __post_init__(self) -> None:
        if self.extractor is not None:
            # By class: to ask an object for its provenance reads its weights.
            cls = type(self.extractor)
            if absent := missing_members(Extractor, cls):
                raise ValueError(
                    f"extractor: {cls.__name__} has no {', '.join(absent)}; expected "
                    "an extractor such as lsgm.features.inception:InceptionFeatures"
                )
        for name in (
            "batch_size",
            "num_samples",
            "monitor_examples",
            "monitor_samples",
            "selection_samples",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least 1")
        if self.recalibration_batches < 0:
            raise ValueError(
                f"recalibration_batches = {self.recalibration_batches}: must be at "
                "least 0"
            )
        if self.recalibration_batches and self.batch_statistics:
            raise ValueError(
                f"recalibration_batches = {self.recalibration_batches}: has no effect "
                "with batch_statistics = True; choose one"
            )
        if not 1 <= self.reference_bits <= 8:
            raise ValueError(f"reference_bits = {self.reference_bits}: from 1 to 8")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(
                f"temperature = {self.temperature}: must be finite and at least 0"
            )

    def require_extractor(self) -> Any:
        """The ``Extractor``.

        Raises:
          ConfigError: none is named.
        """
        if self.extractor is None:
            message = "name the extractor that compares images"
            raise ConfigError("evaluation.extractor", None, message)
        return self.extractor

    @property
    def selected_by(self) -> str:
        """The split that a stage's best state is chosen by."""
        return self.selection_split or self.monitor_split

    def selection_statistics(self, data: Data) -> Statistics:
        """Statistics of the real images that a stage's best state is chosen by.

        Raises:
          ConfigError: the settings name a file that does not fit.
        """
        if self.selected_by == self.reference_split:
            return self.reference_statistics(data)
        return self._build(data, self.selected_by)

    def reference_statistics(self, data: Data) -> Statistics:
        """Statistics of the real images that samples are compared with.

        Raises:
          ConfigError: the settings name a file that does not fit.
        """
        if self.reference is not None:
            return reference.load(
                self.reference, data, self.extractor, self.reference_bits
            )
        return self._build(data, self.reference_split)

    def _build(self, data: Data, split: str) -> Statistics:
        return reference.build(
            data,
            split,
            self.extractor,
            num_bits=self.reference_bits,
            batch_size=self.batch_size,
        )

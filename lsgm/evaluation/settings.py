"""What an evaluation measures, and on how much."""

import dataclasses
from typing import Any

from lsgm.evaluation.measures.exploration import Exploration
from lsgm.evaluation.measures.likelihood import Likelihood
from lsgm.evaluation.measures.memorization import Memorization
from lsgm.features.reference import Reference
from lsgm.reports.ledger import Ledger
from lsgm.statistics.manifolds import Manifolds

# Samples in the report's picture.
NUM_SHOWN = 96


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Settings of ``experiments/evaluate.py`` and of the checks during training.

    Attributes:
      split: data split whose images are held out from training.
      num_examples: how many of them the bound is averaged over; None for all.
      num_draws: independent draws (latents, times, noise) per example.
      batch_size: examples per call of the bound, samples per call of the sampler.
      num_samples: generated images for the Frechet distance.
      monitor_examples: held-out examples for the bound during training.
      monitor_samples: images in the sample grids written during training.
      temperature: factor on the standard deviation of the initial noise.
      batch_statistics: let the decoder use the generated batch's statistics.
      recalibration_batches: generated batches from which the decoder's statistics
        are taken, once, before anything is sampled; 0 keeps those of training.
      timing_repeats: timed repetitions of sampling, after one that compiles.
      latent_examples: held-out examples for the statistics of latents; 0 makes none.
      exploration: round trips and interpolations in the report; None shows none.
      likelihood: the bound by the density of latents, importance weights; None
        computes neither.
      extractor: feature extractor of the distances; None measures none.
      reference_split: split of the real images that samples are compared with.
      reference: their statistics, in a file; None computes them from the split.
      reference_bits: bit depth of real images; published references have 8.
      baseline_split: other real images, measured like samples.
      manifolds: of precision, recall, density and coverage.
      memorization: whether samples are copies of training images; None does not ask.
      selection_samples: generated images by whose Frechet distance a stage keeps its
        best state, where it does (``lsgm.training.stage.Stage.keep_best``).
      ledger: published figures to stand beside; with them a training ends with its
        evaluation.
    """

    split: str = "test"
    num_examples: int | None = None
    num_draws: int = 4
    batch_size: int = 100
    num_samples: int = 500
    monitor_examples: int = 500
    monitor_samples: int = 64
    monitor_split: str = "validation"
    temperature: float = 1.0
    batch_statistics: bool = False
    recalibration_batches: int = 0
    timing_repeats: int = 5
    latent_examples: int = 500
    exploration: Exploration | None = None
    likelihood: Likelihood | None = None
    extractor: Any = None
    reference_split: str = "test"
    reference: Reference | None = None
    reference_bits: int = 8
    baseline_split: str = "validation"
    manifolds: Manifolds = Manifolds()
    memorization: Memorization | None = Memorization()
    selection_samples: int = 2500
    ledger: Ledger | None = None

    def __post_init__(self) -> None:
        for name in (
            "num_draws",
            "batch_size",
            "num_samples",
            "monitor_examples",
            "monitor_samples",
            "selection_samples",
            "timing_repeats",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least 1")
        for name in ("recalibration_batches", "latent_examples"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least 0")
        if self.recalibration_batches and self.batch_statistics:
            raise ValueError(
                f"recalibration_batches = {self.recalibration_batches}: has no effect "
                "with batch_statistics = True; choose one"
            )
        if not 1 <= self.reference_bits <= 8:
            raise ValueError(f"reference_bits = {self.reference_bits}: from 1 to 8")
        if self.temperature <= 0:
            raise ValueError(f"temperature = {self.temperature}: must be positive")

    @property
    def num_kept_images(self) -> int:
        """Generated images that are kept, for pictures and for ``memorization``."""
        asked = self.memorization.num_images if self.memorization else 0
        return max(NUM_SHOWN, asked)

"""What an evaluation measures, and on how much."""

import dataclasses
from typing import Any

from lsgm.evaluation.exploration import Exploration
from lsgm.evaluation.likelihood import Likelihood


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
      extractor: feature extractor of the Frechet distance; None measures none.
      reference_split: split of the real images that samples are compared with;
        baseline_split: more real images, for the distance between real halves.
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
    baseline_split: str = "validation"

    def __post_init__(self) -> None:
        for name in (
            "num_draws",
            "batch_size",
            "num_samples",
            "monitor_examples",
            "monitor_samples",
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
        if self.temperature <= 0:
            raise ValueError(f"temperature = {self.temperature}: must be positive")

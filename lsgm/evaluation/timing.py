"""How long sampling takes, the prior and the decoder apart.

A call is timed from the host until its results are ready. The first call, which
compiles, is reported apart from the repeats, of which the median counts: one
interruption by the machine's other work does not move it.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from lsgm.priors.base import LatentSamples
from lsgm.typing import Array, PRNGKey

Result = TypeVar("Result")


class Timing(NamedTuple):
    """Seconds per call.

    Attributes:
      first: the first call, compilation included.
      repeats: each call after it.
    """

    first: float
    repeats: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the repeats."""
        return float(np.median(self.repeats))


class SamplingTime(NamedTuple):
    """Seconds per call of either part for a batch of ``batch_size`` samples.

    Attributes:
      nfe: network calls per sample, averaged over the repeats (an adaptive sampler
        may take other numbers for other noise).
    """

    prior: Timing
    decoder: Timing
    batch_size: int
    nfe: float

    @property
    def prior_per_sample(self) -> float:
        """Median seconds per sample that the prior takes."""
        return self.prior.median / self.batch_size

    @property
    def decoder_per_sample(self) -> float:
        """Median seconds per sample that the decoder takes."""
        return self.decoder.median / self.batch_size


def time_calls(
    call: Callable[[int], Result], repeats: int
) -> tuple[Timing, list[Result]]:
    """Time ``call(0)``, which compiles, and then ``call(1)`` to ``call(repeats)``.

    Returns:
      The times, and the results of the repeats.
    """
    seconds, results = [], []
    for i in range(repeats + 1):
        start = time.perf_counter()
        results.append(jax.block_until_ready(call(i)))
        seconds.append(time.perf_counter() - start)
    return Timing(seconds[0], tuple(seconds[1:])), results[1:]


def time_sampling(
    draw: Callable[[PRNGKey], LatentSamples],
    decode: Callable[[Array], Any],
    key: PRNGKey,
    repeats: int,
) -> SamplingTime:
    """Time drawing latents and decoding them.

    Args:
      draw: compiled, from a key to a batch of latents.
      decode: compiled, from latents [b h w c] to images.
      key: folded with the number of the call, so that every call differs.
    """
    prior, drawn = time_calls(lambda i: draw(jax.random.fold_in(key, i)), repeats)
    latents = [samples.z0 for samples in drawn]
    decoder, _ = time_calls(lambda i: decode(latents[i % repeats]), repeats)
    return SamplingTime(
        prior,
        decoder,
        latents[0].shape[0],
        float(np.mean([int(samples.nfe) for samples in drawn])),
    )

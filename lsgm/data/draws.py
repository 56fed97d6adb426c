r"""Random words that belong to an example, however examples are batched.

Every example of a run has a position p: its place in the endless training order,
or its index in evaluation. A transform that needs m words per example reads, from
one Philox stream, the stretch

    counter in [p B, (p + 1) B),   B = ceil(m / 8) blocks of 8 words.        (1)

Philox is counter based (Salmon et al., SC 2011), so a batch of consecutive
positions is one contiguous read and costs one call, while what an example gets
depends on (seed, stream, p) alone: not on the batch size, not on the number of
processes, not on what was drawn before.
"""

import dataclasses

import numpy as np
from jaxtyping import UInt32

WORDS_PER_BLOCK = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draws:
    """The words of ``count`` examples at positions ``start``, ``start + 1``, ..."""

    seed: int
    start: int
    count: int

    def words(self, stream: int, size: int) -> UInt32[np.ndarray, "count size"]:
        """``size`` uniform 32-bit words per example, Eq. (1)."""
        blocks = -(-size // WORDS_PER_BLOCK)
        raw = philox(self.seed, stream, counter=self.start * blocks).random_raw(
            self.count * blocks * (WORDS_PER_BLOCK // 2)
        )
        return raw.view(np.uint32).reshape(self.count, -1)[:, :size]


def permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order of ``n`` examples in an epoch.

    Sorting raw words instead of ``Generator.permutation``, whose stream NumPy may
    change between versions.
    """
    # The epoch in the counter's top word: no read is long enough to carry into it.
    bits = philox(seed, stream=0, counter=epoch << 192)
    return np.argsort(bits.random_raw(n), kind="stable")


def philox(seed: int, stream: int, counter: int) -> np.random.Philox:
    """The stream ``(seed, stream)``, from ``counter`` on."""
    return np.random.Philox(key=seed + (stream << 64), counter=counter)

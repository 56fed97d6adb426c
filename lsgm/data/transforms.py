r"""From stored bytes to the levels that a model sees, a whole batch at a time.

    b bits        level = floor(byte / 2^(8 - b))  in 0 .. 2^b - 1           (1)
    binarised     level ~ Bernoulli(byte / 255)    in {0, 1}                 (2)

Eq. (2) is dynamic binarisation (Burda et al., arXiv 1509.00519): redrawn at every
access in training, fixed by the example's index in evaluation. Each random
transform reads a stream of its own (``draws.Draws``), so adding one changes no
other's numbers.
"""

import dataclasses
from typing import ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from lsgm.data.draws import Draws

Bytes: TypeAlias = UInt8[np.ndarray, "b h w c"]


@runtime_checkable
class Transform(Protocol):
    """A map of batches whose randomness is addressed by example."""

    def __call__(self, images: Bytes, draws: Draws) -> Bytes: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReduceBits:
    """Keep the ``num_bits`` highest bits, Eq. (1)."""

    num_bits: int

    def __call__(self, images: Bytes, draws: Draws) -> Bytes:
        return images >> np.uint8(8 - self.num_bits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flip:
    """Mirror left and right with probability one half."""

    stream: ClassVar[int] = 1

    def __call__(self, images: Bytes, draws: Draws) -> Bytes:
        heads = draws.words(self.stream, 1)[:, :, None, None] < np.uint32(2**31)
        return np.where(heads, images[:, :, ::-1], images)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Binarize:
    """Dynamic binarisation, Eq. (2), exact to 2^-32."""

    stream: ClassVar[int] = 2

    def __call__(self, images: Bytes, draws: Draws) -> Bytes:
        words = draws.words(self.stream, images[0].size).reshape(images.shape)
        # 255 word < 2^32 byte in whole numbers: byte 0 never, byte 255 always.
        on = words.astype(np.uint64) * 255 < images.astype(np.uint64) << np.uint64(32)
        return on.astype(np.uint8)

"""mnist5k: 5,000 real MNIST digits, shipped inside the package.

Split 4,000 / 500 / 500, equal numbers of each digit in every split, by a stored
array. Provenance and licence: ``lsgm/data/sources/mnist5k/README.md``.
"""

import dataclasses
import pathlib
from typing import ClassVar

import numpy as np

from lsgm.data.sources.arrays import ArrayExamples
from lsgm.data.sources.base import require_split
from lsgm.data.sources.layout import SPLITS

FOLDER = pathlib.Path(__file__).parent / "mnist5k"
MIXER = 2_654_435_761  # Knuth's multiplicative hash: one order on every machine.


@dataclasses.dataclass(frozen=True, kw_only=True)
class MNIST5k:
    """28x28x1, ten classes; needs no download."""

    prepared: ClassVar[bool] = True

    def splits(self) -> tuple[str, ...]:
        return SPLITS

    def open(self, split: str) -> ArrayExamples:
        require_split(split, SPLITS, "mnist5k")
        member = np.flatnonzero(np.load(FOLDER / "split.npy") == SPLITS.index(split))
        # The file is sorted by digit; the first few of a split should not be zeros.
        member = member[np.argsort(member * MIXER % 2**32)]
        with np.load(FOLDER / "mnist5k.npz") as file:
            images, labels = file["x"][member], file["y"][member]
        return ArrayExamples(
            images=images[..., None], labels=labels, place=f"mnist5k/{split}"
        )

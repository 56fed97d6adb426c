"""Held-out examples on their way to a measure: hashed, and counted in units."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from lsgm.data.pipeline import Data
from lsgm.statistics.estimate import estimate_ratio


class HeldOut:
    """Evaluation batches, and what has been seen of them.

    Attributes:
      units: how many units bits are counted per each example has, [n].
    """

    def __init__(self, data: Data, batches: Iterable[Any]):
        self._data, self._batches, self._hash = data, batches, hashlib.sha256()
        self._units: list[np.ndarray] = []

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            mask = batch["mask"]
            for name in sorted(batch.keys() - {"mask", "label"}):
                self._hash.update(np.ascontiguousarray(batch[name][mask]).data)
            self._units.append(self._data.units(batch)[mask])
            yield batch

    @property
    def sha256(self) -> str:
        """Of the data of all examples so far."""
        return self._hash.hexdigest()

    @property
    def units(self) -> np.ndarray:
        return np.concatenate(self._units)

    def bits(self, nats: np.ndarray) -> dict[str, float]:
        """Bits per unit from nats of each example, as ``metrics.json`` holds them."""
        found = estimate_ratio(nats / math.log(2), self.units)
        return {
            f"bits_per_{self._data.unit}": found.value,
            "bits_standard_error": found.standard_error or 0.0,
        }

"""One split, decoded once where it fits in memory, streamed where it does not."""

import concurrent.futures
from typing import Any

import numpy as np
from tqdm import tqdm

from lsgm.data.errors import DataError
from lsgm.data.fit import Fit
from lsgm.data.sources.base import Examples
from lsgm.data.sources.labels import class_number

READ_THREADS = 4


class Store:
    """Fitted images of one split, and what else its examples hold, by index.

    An example enters the cache when it is first asked for, so opening a large set
    costs nothing and the second epoch decodes nothing. Concurrent readers may
    decode an example twice; they write the same bytes.
    """

    def __init__(self, examples: Examples, fit: Fit, *, cache_bytes: int):
        self.fit = fit
        self.examples = examples
        first = self._read(0)
        num = len(examples)
        size = num * sum(value.nbytes for value in first.values())
        self.cached = size <= cache_bytes
        if self.cached:
            self._kept = {
                name: np.empty((num, *value.shape), value.dtype)
                for name, value in first.items()
            }
            self._ready = np.zeros(num, bool)

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, indices: np.ndarray) -> dict[str, Any]:
        """``levels`` uint8 [n h w c], and the examples' other entries, [n ...] each:
        ``label`` int32 [n] where there are labels."""
        if self.cached:
            for i in indices[~self._ready[indices]]:
                self._keep(int(i))
            return {name: values[indices] for name, values in self._kept.items()}
        read = [self._read(int(i)) for i in indices]
        return {name: np.stack([one[name] for one in read]) for name in read[0]}

    def verify(self) -> None:
        """Look at every image: decode those to be cached, else read the headers.

        Raises:
          DataError: names the first file that is unreadable or does not fit.
        """
        look = self._keep if self.cached else self._check
        with concurrent.futures.ThreadPoolExecutor(READ_THREADS) as pool:
            seen = pool.map(look, range(len(self)))
            # `delay` keeps the bar off the screen for what takes no time.
            for _ in tqdm(seen, "checking images", len(self), delay=2):
                pass

    def _read(self, i: int) -> dict[str, np.ndarray]:
        stored = dict(self.examples[i])
        image = self.fit(stored.pop("image"), self.examples.name(i))
        if "label" in stored:
            stored["label"] = _label(stored["label"], self.examples.name(i))
        return {"levels": image} | {k: np.asarray(v) for k, v in stored.items()}

    def _keep(self, i: int) -> None:
        for name, value in self._read(i).items():
            self._kept[name][i] = value
        self._ready[i] = True

    def _check(self, i: int) -> None:
        self.fit.check(self.examples.shape(i), self.examples.name(i))


def _label(value: Any, name: str) -> np.int32:
    try:
        return class_number(value)
    except ValueError as error:
        raise DataError("label", name, str(error)) from error

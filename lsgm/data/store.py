"""One split, decoded once where it fits in memory, streamed where it does not."""

import concurrent.futures
from typing import Any

import numpy as np
from tqdm import tqdm

from lsgm.data.fit import Fit
from lsgm.data.sources.base import Examples

READ_THREADS = 4


class Store:
    """Fitted images and labels of one split, by index.

    An image enters the cache when it is first asked for, so opening a large set
    costs nothing and the second epoch decodes nothing. Concurrent readers may
    decode an image twice; they write the same bytes.
    """

    def __init__(self, examples: Examples, fit: Fit, *, cache_bytes: int):
        self.fit = fit
        self.examples = examples
        self.labelled = "label" in examples[0]
        shape = (len(examples), *fit.image_shape)
        self.cached = int(np.prod(shape)) <= cache_bytes
        if self.cached:
            self._images = np.empty(shape, np.uint8)
            self._labels = np.empty(len(examples), np.int32)
            self._ready = np.zeros(len(examples), bool)

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, indices: np.ndarray) -> dict[str, Any]:
        """``image`` uint8 [n h w c] and, where there are labels, ``label`` [n]."""
        if self.cached:
            for i in indices[~self._ready[indices]]:
                self._keep(int(i))
            images, labels = self._images[indices], self._labels[indices]
        else:
            read = [self._read(int(i)) for i in indices]
            images = np.stack([image for image, _ in read])
            labels = np.array([label for _, label in read], np.int32)
        return {"image": images} | ({"label": labels} if self.labelled else {})

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

    def _read(self, i: int) -> tuple[np.ndarray, int]:
        example = self.examples[i]
        image = self.fit(example["image"], self.examples.name(i))
        return image, int(example.get("label", -1))

    def _keep(self, i: int) -> None:
        self._images[i], self._labels[i] = self._read(i)
        self._ready[i] = True

    def _check(self, i: int) -> None:
        self.fit.check(self.examples.shape(i), self.examples.name(i))

"""Images of any source as levels: what most configs call ``data``."""

import dataclasses
import functools
import logging
from typing import Literal

from lsgm.data.fit import Filter, Fit
from lsgm.data.pipeline import Data
from lsgm.data.sizes import require_one_size
from lsgm.data.sources.base import Source, source_notes
from lsgm.data.store import Store
from lsgm.data.transforms import Binarize, Flip, ReduceBits, Transform
from lsgm.data.views import ImageView


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images(Data):
    """A source, and how its images become levels.

    Attributes:
      image_shape: (h, w, c) that the model sees.
      num_bits: levels are 0 .. 2^num_bits - 1.
      binarize: "dynamic" draws level 1 with probability byte / 255.
      flip: mirror half of the training images.
      grey: turn colour images into one channel.
      resize: crop the centre and resize with this filter; "none" refuses images of
        another size.
      enlarge: let ``resize`` make images larger than they are.
      cache_bytes: a split of at most this size is decoded once and kept in memory.
    """

    source: Source
    image_shape: tuple[int, int, int]
    num_bits: int = 8
    binarize: Literal["none", "dynamic"] = "none"
    flip: bool = False
    grey: bool = False
    resize: Filter = "none"
    enlarge: bool = False
    cache_bytes: int = 2**29

    def __post_init__(self) -> None:
        super().__post_init__()
        h, w, c = self.image_shape
        if min(h, w) < 1 or c not in (1, 3):
            raise ValueError(f"image_shape = {self.image_shape}: h, w >= 1, c 1 or 3")
        if not 1 <= self.num_bits <= 8:
            raise ValueError(f"num_bits = {self.num_bits}: allowed are 1 to 8")
        if self.binarize == "dynamic" and self.num_bits != 1:
            raise ValueError(f"num_bits = {self.num_bits}: binarised data has 1 bit")
        if self.grey and c != 1:
            raise ValueError(f"grey = True: image_shape {self.image_shape} has {c}")
        if self.enlarge and self.resize == "none":
            raise ValueError("enlarge = True: resize = 'none' does not resize")

    @property
    def data_shape(self) -> tuple[int, int, int]:
        return self.image_shape

    @property
    def origin(self) -> str:
        return repr(self.source)

    @property
    def view(self) -> ImageView:
        return ImageView()

    def splits(self) -> tuple[str, ...]:
        return self.source.splits()

    def open(self, split: str) -> Store:
        """A split, checked and ready; the second call is free.

        Raises:
          DataError: wrong path, empty folder, unreadable or wrongly sized image,
            missing split; names the file and the argument.
        """
        if split not in self._stores:
            if not self._stores:
                for note in source_notes(self.source):
                    logging.getLogger(__name__).warning("%s: %s", self.origin, note)
            self._stores[split] = self._open(split)
        return self._stores[split]

    @functools.cached_property
    def _stores(self) -> dict[str, Store]:
        return {}

    def _open(self, split: str) -> Store:
        fit = Fit(
            image_shape=self.image_shape,
            grey=self.grey,
            resize=self.resize,
            enlarge=self.enlarge,
        )
        examples = self.source.open(split)
        fit.check(examples.shape(0), examples.name(0))
        store = Store(examples, fit, cache_bytes=self.cache_bytes)
        if not self.source.prepared:
            if self.resize != "none":
                require_one_size({split: examples})
            store.verify()
        return store

    @property
    def _train_transforms(self) -> tuple[tuple[str, Transform], ...]:
        flip = (("levels", Flip()),) if self.flip else ()
        return flip + self._transforms

    @property
    def _transforms(self) -> tuple[tuple[str, Transform], ...]:
        if self.binarize == "dynamic":
            return (("levels", Binarize()),)
        if self.num_bits == 8:
            return ()
        return (("levels", ReduceBits(num_bits=self.num_bits)),)

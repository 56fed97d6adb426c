"""Codes of classes: label maps, rows of tables, sequences of symbols.

Codes are whole numbers 0 .. K - 1 without an order. A whole split is kept in memory,
a byte a code, and every code is checked when it is opened.
"""

import abc
import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from lsgm.data.errors import DataError
from lsgm.data.pipeline import Data
from lsgm.data.sources.base import Source
from lsgm.data.sources.labels import class_number
from lsgm.data.views import ImageView, View
from lsgm.numerics import check_num_classes


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CodeSplit:
    """Codes of one split, and labels where there are some."""

    codes: UInt8[np.ndarray, "n h w c"]
    labels: Int[np.ndarray, " n"] | None

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, indices: np.ndarray) -> dict[str, Any]:
        """``levels`` uint8 [n h w c], and perhaps ``label`` int32 [n]."""
        taken = {"levels": self.codes[indices]}
        if self.labels is not None:
            taken["label"] = self.labels[indices]
        return taken


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodedData(Data):
    """Contract of data that are codes of K classes.

    Attributes:
      source: where they come from, of the kind that a subclass names.
    """

    source: Any

    @property
    @abc.abstractmethod
    def classes(self) -> int:
        """K, from 2 to 256."""

    @abc.abstractmethod
    def read(self, split: str) -> CodeSplit:
        """A split from its source, checked.

        Raises:
          DataError: missing split, unreadable or unfit data.
        """

    @property
    def origin(self) -> str:
        return repr(self.source)

    def splits(self) -> tuple[str, ...]:
        return self.source.splits()

    @property
    def num_bits(self) -> int:
        """The least that hold K codes."""
        return (self.classes - 1).bit_length()

    @property
    def max_level(self) -> int:
        return self.classes - 1

    def open(self, split: str) -> CodeSplit:
        """A split, checked and in memory; the second call is free.

        Raises:
          DataError: as ``read``.
        """
        if split not in self._opened:
            self._opened[split] = self.read(split)
        return self._opened[split]

    @functools.cached_property
    def _opened(self) -> dict[str, CodeSplit]:
        return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Categories(CodedData):
    """A source whose "images" are codes.

    Bits are counted per variable ("dim"), all of ``shape``.

    Attributes:
      source: of uint8 [h w c] each, such as an npz file.
      shape: (h, w, c) of an example; (n, 1, 1) for a row of n columns.
      num_classes: K, from 2 to 256.
      allowed: of data whose places differ in their number of classes, runs (places,
        classes) as ``lsgm.categorical:CategoricalLikelihood`` has them.
    """

    source: Source
    shape: tuple[int, int, int]
    num_classes: int
    allowed: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.shape) < 1:
            raise ValueError(f"shape = {self.shape}: h, w, c, at least 1 each")
        check_num_classes(self.num_classes)
        places = self.shape[0] * self.shape[1]
        if self.allowed and sum(run for run, _ in self.allowed) != places:
            raise ValueError(f"allowed = {self.allowed}: runs over {places} places")

    @property
    def data_shape(self) -> tuple[int, int, int]:
        return self.shape

    @property
    def classes(self) -> int:
        return self.num_classes

    @property
    def view(self) -> View:
        return ImageView()

    def read(self, split: str) -> CodeSplit:
        examples = self.source.open(split)
        codes = np.empty((len(examples), *self.shape), np.uint8)
        labels = []
        for i in range(len(examples)):
            stored = examples[i]
            shape = np.shape(stored["image"])
            if shape != tuple(self.shape):
                message = f"{examples.name(i)} is {shape}"
                raise DataError("shape", self.shape, message)
            codes[i] = stored["image"]
            if "label" in stored:
                labels.append(class_number(stored["label"]))
        self._check(codes, examples)
        if labels and len(labels) != len(codes):
            raise DataError("source", self.source, "some examples have no label")
        return CodeSplit(
            codes=codes, labels=np.array(labels, np.int32) if labels else None
        )

    def _check(self, codes: np.ndarray, examples: Any) -> None:
        h, w, _ = self.shape
        runs = self.allowed or ((h * w, self.num_classes),)
        counts = np.repeat([k for _, k in runs], [run for run, _ in runs])
        wrong = np.argwhere(codes >= counts.reshape(1, h, w, 1))
        if len(wrong):
            i, *place = wrong[0].tolist()
            code, count = codes[tuple(wrong[0])], counts[place[0] * w + place[1]]
            raise DataError(
                "allowed" if self.allowed else "num_classes",
                self.allowed or self.num_classes,
                f"{examples.name(i)} holds code {code} at {tuple(place)}; there codes "
                f"are 0 to {count - 1}",
            )

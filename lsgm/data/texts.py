"""Texts as sequences of codes: code 0 ends a text, and fills the places behind it."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8

from lsgm.data.categories import CodedData, CodeSplit
from lsgm.data.errors import DataError
from lsgm.data.views import TextView
from lsgm.numerics import check_num_classes
from lsgm.typing import Batch


class TextExamples(NamedTuple):
    """Texts of one split.

    Attributes:
      labels: class numbers, or None where there are none.
      place: where they are stored, for error messages.
    """

    texts: Sequence[str]
    labels: Int[np.ndarray, " n"] | None
    place: str


@runtime_checkable
class TextSource(Protocol):
    """A set of texts that a config names."""

    def splits(self) -> tuple[str, ...]:
        """Names that ``open`` takes."""
        ...

    def open(self, split: str) -> TextExamples:
        """The texts of a split.

        Raises:
          DataError: nothing there, or nothing readable; names file and argument.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Texts(CodedData):
    """A source of texts, and the characters that they are made of.

    Codes are [length, 1, 1]. Bits are counted per character, and the end of a text
    counts as one: a text of n characters has n + 1 units.

    Attributes:
      alphabet: its character i has code i + 1; at most 255, no two alike.
      length: places of an example; the longest text has one character less.
    """

    unit: ClassVar[str] = "char"

    source: TextSource
    alphabet: str
    length: int

    def __post_init__(self) -> None:
        super().__post_init__()
        double = sorted({c for c in self.alphabet if self.alphabet.count(c) > 1})
        if double:
            raise ValueError(f"alphabet: {''.join(double)!r} is there twice")
        check_num_classes(self.classes)
        if self.length < 2:
            raise ValueError(f"length = {self.length}: at least 2")

    @property
    def data_shape(self) -> tuple[int, int, int]:
        return self.length, 1, 1

    @property
    def classes(self) -> int:
        return 1 + len(self.alphabet)

    @property
    def view(self) -> TextView:
        return TextView(alphabet=self.alphabet)

    def read(self, split: str) -> CodeSplit:
        texts, labels, place = self.source.open(split)
        return CodeSplit(codes=self.encode(texts, place), labels=labels)

    def encode(
        self, texts: Sequence[str], place: str = "texts"
    ) -> UInt8[np.ndarray, "n length 1 1"]:
        """Codes of texts.

        Raises:
          DataError: a text is too long, or has a character that is not in the
            alphabet; names its number and the character.
        """
        code = {character: i for i, character in enumerate(self.alphabet, 1)}
        codes = np.zeros((len(texts), self.length), np.uint8)
        for i, text in enumerate(texts):
            if len(text) >= self.length:
                message = f"{place}[{i}] has {len(text)} characters, and an end"
                raise DataError("length", self.length, message)
            try:
                codes[i, : len(text)] = [code[character] for character in text]
            except KeyError as error:
                message = f"{place}[{i}] has {error.args[0]!r}: {text!r}"
                raise DataError("alphabet", self.alphabet, message) from error
        return codes[:, :, None, None]

    def texts(self, split: str) -> list[str]:
        """All texts of a split."""
        return self.view.decode(self.open(split).codes)

    def units(self, batch: Batch) -> Float[np.ndarray, " b"]:
        """Characters of each text, its end among them."""
        codes = np.asarray(batch["levels"]).reshape(-1, self.length)
        ended = codes == 0
        ends = np.where(ended.any(1), ended.argmax(1) + 1, self.length)
        return ends.astype(np.float64)

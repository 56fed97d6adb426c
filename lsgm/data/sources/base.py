"""The contract of a source of images: random access, split by split.

A ``Source`` is a frozen dataclass that a config names; ``open`` reads what is on
disk and hands back ``Examples``. An example is ``{"image": uint8 [h w c]}``, with
``"label"`` (an integer) where the data has labels. Sizes, channels and levels are
the pipeline's business: a source gives what is stored.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from lsgm.config import nearest
from lsgm.data.errors import DataError


@runtime_checkable
class Examples(Protocol):
    """One split, opened."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> Mapping[str, Any]:
        """The stored example: ``image`` uint8 [h w c], perhaps ``label``."""
        ...

    def shape(self, i: int) -> tuple[int, int, int]:
        """(h, w, c) of image ``i``, without decoding it where that is possible."""
        ...

    def name(self, i: int) -> str:
        """Where example ``i`` is stored, for error messages."""
        ...


@runtime_checkable
class Source(Protocol):
    """A data set that a config names.

    ``prepared`` says that a tool has written all images alike and whole; where it
    is false the pipeline looks at every one before training starts.
    """

    prepared: ClassVar[bool]

    def splits(self) -> tuple[str, ...]:
        """Names that ``open`` takes."""
        ...

    def open(self, split: str) -> Examples:
        """Open a split.

        Raises:
          DataError: nothing there, or nothing readable; names file and argument.
        """
        ...


@runtime_checkable
class Noting(Protocol):
    """A source of files that people lay out by hand."""

    def notes(self) -> list[str]:
        """What is not read, and which folders are read as one split, in words."""
        ...


def source_notes(source: Source) -> list[str]:
    """What a source says that it does not read, or reads as one, in words."""
    return source.notes() if isinstance(source, Noting) else []


def require_split(split: str, existing: Iterable[str], place: str) -> None:
    """Raise a DataError unless ``split`` is among those that exist."""
    existing = tuple(existing)
    if split not in existing:
        message = f"{place} has no split {split!r}; {nearest(split, existing)}"
        raise DataError("split", split, message)

"""Examples of which each is stored by itself, as a file or the bytes of one."""

import abc
import dataclasses
import pathlib
from typing import Any

import numpy as np

from lsgm.data.sources import image_file
from lsgm.data.sources.labels import class_number


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StoredExamples(abc.ABC):
    """All that a kind of storage has to say is where example ``i`` lies.

    Instances travel to worker processes, so they hold paths, never open files.

    Attributes:
      labels: [n], or None where there are none.
      max_pixels: an encoded image of more is an error.
    """

    labels: np.ndarray | None
    max_pixels: int = image_file.MAX_PIXELS

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def stored(self, i: int) -> pathlib.Path | bytes | np.ndarray:
        """The path of, or the bytes of, an encoded image; or pixels uint8 [h w c].

        Raises:
          DataError: unreadable; names the example.
        """

    @abc.abstractmethod
    def name(self, i: int) -> str:
        """Where example ``i`` is stored, for error messages."""

    def __getitem__(self, i: int) -> dict[str, Any]:
        stored = self.stored(i)
        if not isinstance(stored, np.ndarray):
            stored = image_file.pixels(stored, self.name(i), self.max_pixels)
        if self.labels is None:
            return {"image": stored}
        return {"image": stored, "label": class_number(self.labels[i])}

    def shape(self, i: int) -> tuple[int, int, int]:
        """(h, w, c), of encoded images from the header alone."""
        stored = self.stored(i)
        if not isinstance(stored, np.ndarray):
            return image_file.shape(stored, self.name(i), self.max_pixels)
        h, w, c = stored.shape
        return h, w, c

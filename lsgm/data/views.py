"""How data are shown: data or samples as a picture, or as texts.

Measures, and looks at a model in training, ask the data's view. What they hand in are
shown values: the model's x as ``Likelihood.shown`` gives it, images within [0, 1].
"""

import dataclasses
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from lsgm.reports import plots
from lsgm.reports.plots import Picture
from lsgm.typing import Array

Shown: TypeAlias = Float[np.ndarray | Array, "n h w c"]
ShownPath: TypeAlias = Float[np.ndarray | Array, "t n h w c"]

# Screen pixels along the side of a picture of points, and of one point.
SIDE, DOT = 320, 2
INK, PALE = (38, 84, 124), (205, 205, 205)


@runtime_checkable
class View(Protocol):
    """Pictures and texts of one kind of data."""

    def picture(self, shown: Shown, columns: int | None = None) -> Picture:
        """All examples in one picture, ``columns`` in a row where they have rows."""
        ...

    def pairs(self, real: Shown, decoded: Shown) -> Picture:
        """Examples, each beside its reconstruction."""
        ...

    def path(self, path: ShownPath) -> Picture:
        """Samples on their way from noise, the first time on the left."""
        ...

    def texts(self, shown: Shown) -> list[str] | None:
        """Each example in words; None where there are only pictures."""
        ...

    def arrays(self, shown: Shown) -> dict[str, np.ndarray]:
        """What a file of samples holds of them, by name."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageView:
    """Images in grids."""

    def picture(self, shown: Shown, columns: int | None = None) -> Picture:
        return plots.grid(shown, columns)

    def pairs(self, real: Shown, decoded: Shown) -> Picture:
        return plots.pairs(real, decoded)

    def path(self, path: ShownPath) -> Picture:
        return plots.strip(path)

    def texts(self, shown: Shown) -> None:
        del shown

    def arrays(self, shown: Shown) -> dict[str, np.ndarray]:
        return {"images": plots.to_bytes(shown)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlaneView:
    """Points of the plane, [n 1 1 2], as dots in one square.

    Attributes:
      extent: the square is [-extent, extent]^2; points outside are left out.
    """

    extent: float

    def picture(self, shown: Shown, columns: int | None = None) -> Picture:
        del columns
        return self._dots((shown, INK))

    def pairs(self, real: Shown, decoded: Shown) -> Picture:
        """Data pale, reconstructions over them."""
        return self._dots((real, PALE), (decoded, INK))

    def path(self, path: ShownPath) -> Picture:
        frames = [self._dots((points, INK)) for points in path]
        return plots.grid(np.stack(frames), len(frames))

    def texts(self, shown: Shown) -> None:
        del shown

    def arrays(self, shown: Shown) -> dict[str, np.ndarray]:
        return {"points": np.asarray(shown).reshape(-1, 2)}

    def _dots(self, *layers: tuple[Shown, tuple[int, int, int]]) -> Picture:
        picture = np.full((SIDE, SIDE, 3), plots.GROUND, np.uint8)
        for shown, colour in layers:
            points = np.asarray(shown).reshape(-1, 2)
            # Columns from the left, rows from the top.
            places = 0.5 * (points * [1, -1] / self.extent + 1) * (SIDE - DOT)
            places = np.round(places[np.isfinite(places).all(1)]).astype(np.int64)
            inside = (places >= 0).all(1) & (places <= SIDE - DOT).all(1)
            for x, y in places[inside]:
                picture[y : y + DOT, x : x + DOT] = colour
        return picture


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextView:
    """Texts in lines.

    Attributes:
      alphabet: its character i has code i + 1; code 0 ends a text.
    """

    alphabet: str

    def picture(self, shown: Shown, columns: int | None = None) -> Picture:
        del columns
        return plots.lines(self.texts(shown))

    def pairs(self, real: Shown, decoded: Shown) -> Picture:
        """Each text, and below it its reconstruction."""
        both = zip(self.texts(real), self.texts(decoded), strict=True)
        return plots.lines([line for one, two in both for line in (one, two, "")][:-1])

    def path(self, path: ShownPath) -> Picture:
        """Each sample's times one below the other, noise first."""
        by_time = [self.texts(shown) for shown in path]
        samples = zip(*by_time, strict=True)
        return plots.lines([line for lines in samples for line in (*lines, "")][:-1])

    def texts(self, shown: Shown) -> list[str]:
        return self.decode(self._codes(shown))

    def arrays(self, shown: Shown) -> dict[str, np.ndarray]:
        return {"codes": self._codes(shown).reshape(len(shown), -1)}

    def decode(self, codes: UInt8[np.ndarray, "n h w c"]) -> list[str]:
        """Texts of codes, each up to its end."""
        characters = ["\0", *self.alphabet]
        rows = codes.reshape(len(codes), -1).tolist()
        texts = ("".join([characters[code] for code in row]) for row in rows)
        return [text.partition("\0")[0] for text in texts]

    def _codes(self, shown: Shown) -> np.ndarray:
        return np.rint(np.asarray(shown) * len(self.alphabet)).astype(np.uint8)

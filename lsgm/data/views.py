"""How data are shown: data or samples as a picture, or as texts.

Measures, and looks at a model in training, ask the data's view. What they hand in are
shown values: the model's x as ``Likelihood.shown`` gives it, images within [0, 1].
"""

import dataclasses
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float

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

r"""Points of the plane, made by seed: densities to look at while a prior learns them.

    gaussians     25 Normal ones of deviation 0.05, on the grid {-2, ..., 2}^2       (1)
    moons         two half circles of radius 1 with noise 0.05, moved to the middle  (2)
    swiss_rolls   five of (t cos t, t sin t), t = 3 pi (1 + 2 u) / 2 with noise 0.2,
                  shrunk to a hundredth: one in the middle, four at (+-0.8, +-0.8)   (3)
    diamond       nine Normal ones of deviation 0.04, on the grid {-1/2, 0, 1/2}^2
                  turned by 45 degrees                                               (4)

Each set is then divided by the root mean square of its coordinates, as diffusions
expect data to have unit variance.

Source of (3) and (4): the toy sets of CLD, arXiv 2112.07068.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from lsgm.config import nearest
from lsgm.data.errors import DataError
from lsgm.data.pipeline import Data, Modes
from lsgm.data.views import PlaneView
from lsgm.streams import check_seed

Points2D = Float[np.ndarray, "n 2"]
# A stream of random numbers each.
SPLITS = ("train", "validation", "test")


def gaussians(rng: np.random.Generator, num: int) -> Points2D:
    """Eq. (1)."""
    return rng.integers(-2, 3, (num, 2)) + 0.05 * rng.normal(size=(num, 2))


def moons(rng: np.random.Generator, num: int) -> Points2D:
    """Eq. (2)."""
    angle, lower = math.pi * rng.random(num), rng.integers(0, 2, num)
    sign = 1 - 2 * lower
    x = sign * np.cos(angle) + lower - 0.5
    y = sign * np.sin(angle) + 0.5 * lower - 0.25
    return np.stack((x, y), 1) + 0.05 * rng.normal(size=(num, 2))


def swiss_rolls(rng: np.random.Generator, num: int) -> Points2D:
    """Eq. (3)."""
    t = 1.5 * math.pi * (1 + 2 * rng.random(num))
    roll = np.stack((t * np.cos(t), t * np.sin(t)), 1) + 0.2 * rng.normal(size=(num, 2))
    middles = np.array([(0, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)])
    return 0.01 * roll + 0.8 * middles[rng.integers(0, 5, num)]


def diamond(rng: np.random.Generator, num: int) -> Points2D:
    """Eq. (4)."""
    x, y = 0.5 * rng.integers(-1, 2, (2, num))
    return _turned(np.stack((x, y), 1)) + 0.04 * rng.normal(size=(num, 2))


def _turned(points: Points2D) -> Points2D:
    """By 45 degrees."""
    x, y = points.T
    return np.stack((x - y, x + y), 1) / math.sqrt(2)


# The generator of each set, and the root mean square of its coordinates, exactly.
SETS: dict[str, tuple[Callable[[np.random.Generator, int], Points2D], float]] = {
    "gaussians": (gaussians, math.sqrt(2 + 0.05**2)),
    "moons": (moons, math.sqrt(21 / 32 - 0.5 / math.pi + 0.05**2)),
    "swiss_rolls": (
        swiss_rolls,
        math.sqrt(0.8 * 0.8**2 + 1e-4 * (9.75 * math.pi**2 / 2 + 0.2**2)),
    ),
    "diamond": (diamond, math.sqrt(1 / 6 + 0.04**2)),
}
# All pairs of -2 .. 2.
GRID = np.stack(np.meshgrid(*2 * [np.arange(-2.0, 3.0)]), -1).reshape(-1, 2)
# Modes, and the deviation of each, of the sets that are mixtures.
GRIDS: dict[str, tuple[Points2D, float]] = {
    "gaussians": (GRID, 0.05),
    "diamond": (_turned(GRID[(np.abs(GRID) <= 1).all(1)] / 2), 0.04),
}
# Half the side of the square that shows a set.
EXTENT = 2.5


class PointSplit:
    """Points [n 1 1 2] in memory."""

    def __init__(self, points: Points2D):
        self.points = points.astype(np.float32)[:, None, None]

    def __len__(self) -> int:
        return len(self.points)

    def take(self, indices: np.ndarray) -> dict[str, Any]:
        """``x`` float32 [n 1 1 2]."""
        return {"x": self.points[indices]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Points(Data):
    """One of the sets (1) to (4), drawn by seed.

    Attributes:
      name: "gaussians", "moons", "swiss_rolls" or "diamond".
      num_train, num_held_out: points of split train, and of each other split.
      seed: of the points; training shuffles by the config's own.
    """

    name: Literal["gaussians", "moons", "swiss_rolls", "diamond"]
    num_train: int = 50_000
    num_held_out: int = 5_000
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("num_train", "num_held_out"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} = {getattr(self, field)}: at least 1")
        check_seed(self.seed)

    @property
    def data_shape(self) -> tuple[int, int, int]:
        return 1, 1, 2

    @property
    def origin(self) -> str:
        return repr(self)

    @property
    def view(self) -> PlaneView:
        return PlaneView(extent=EXTENT)

    @property
    def modes(self) -> Modes | None:
        """Of (1) and (4), which are mixtures of Normal ones."""
        if self.name not in GRIDS:
            return None
        centers, deviation = GRIDS[self.name]
        scale = SETS[self.name][1]
        return Modes(centers / scale, deviation / scale)

    def splits(self) -> tuple[str, ...]:
        return SPLITS

    def open(self, split: str) -> PointSplit:
        if split not in SPLITS:
            raise DataError("split", split, f"no such split; {nearest(split, SPLITS)}")
        return self._opened(split)

    @functools.cached_property
    def _opened(self) -> Callable[[str], PointSplit]:
        return functools.cache(self._draw)

    def _draw(self, split: str) -> PointSplit:
        rng = np.random.default_rng([self.seed, SPLITS.index(split)])
        num = self.num_train if split == "train" else self.num_held_out
        draw, deviation = SETS[self.name]
        return PointSplit(draw(rng, num) / deviation)

r"""Samplers of an exact score on the line: their own error, and no network's.

Samples of n calls each are compared with the data (``lsgm.benchmarks.mixture``) by

    W_1 = int_0^1 |F^-1(q) - G^-1(q)| dq,                                  (1)

and by the width of their modes: the root mean square of the distance to the nearest
center, over the deviation of the data's modes. Above 1, noise is left in samples;
below 1, they contract.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lsgm.benchmarks.mixture import NormalMixture
from lsgm.files import write_file
from lsgm.reports.markdown import markdown_table
from lsgm.samplers.base import Sampler
from lsgm.samplers.euler_maruyama import EulerMaruyama
from lsgm.samplers.grids import Grid, QuadraticFromEnd, UniformGrid
from lsgm.samplers.langevin_euler import LangevinEuler
from lsgm.samplers.sscs import SSCS
from lsgm.sdes.base import SDE
from lsgm.sdes.cld import CLD
from lsgm.sdes.vpsde import VPSDE
from lsgm.statistics.estimate import Estimate, estimate_mean
from lsgm.typing import Array, Float, PRNGKey

GRIDS: dict[str, Grid] = {"uniform": UniformGrid(), "quadratic": QuadraticFromEnd()}
SAMPLERS: dict[str, tuple[SDE, type[Any], Mapping[str, Any]]] = {
    "CLD, Euler-Maruyama": (CLD(), LangevinEuler, {}),
    "CLD, SSCS": (CLD(), SSCS, {}),
    "CLD, SSCS of two stages": (CLD(), SSCS, {"stages": 2}),
    "VPSDE, Euler-Maruyama": (VPSDE(), EulerMaruyama, {"denoise": "drift"}),
}
T_END = 1e-3


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """A sampler's samples against the data.

    Attributes:
      sampler, grid: of ``SAMPLERS`` and ``GRIDS``.
      calls: network calls a sample.
      distance: Eq. (1), over rounds.
      width: deviation of samples about their nearest center over the data's own.
    """

    sampler: str
    grid: str
    calls: int
    distance: Estimate
    width: Estimate


def accuracies(
    mixture: NormalMixture, calls: Sequence[int], num: int, rounds: int
) -> Iterator[Accuracy]:
    """Every sampler on both grids; each round has its own noise, the same for all.

    Args:
      num: samples of a round.
    """
    for name, (sde, kind, fields) in SAMPLERS.items():
        for grid_name, grid in GRIDS.items():
            for number in calls:
                steps = number // fields.get("stages", 1)
                sampler = kind(num_steps=steps, grid=grid, t_end=T_END, **fields)
                draw = _drawing(sampler, sde, mixture, num)
                found = [compare(draw(i), mixture) for i in range(rounds)]
                columns = zip(*found, strict=True)
                distance, width = (estimate_mean(np.array(x)) for x in columns)
                yield Accuracy(name, grid_name, number, distance, width)


def _drawing(
    sampler: Sampler, sde: SDE, mixture: NormalMixture, num: int
) -> Callable[[int], Float[np.ndarray, " n"]]:
    """Samples by their round, compiled once for all rounds."""
    residual = mixture.residual(sde)

    @jax.jit
    def run(key: PRNGKey) -> Array:
        first, second = jax.random.split(key)
        u1 = sde.prior_sample(first, (num, 1))
        return sde.lower(sampler(second, sde, residual, u1).u)[:, 0]

    return lambda index: np.asarray(run(jax.random.key(index)), np.float64)


def compare(
    samples: Float[np.ndarray, " n"], mixture: NormalMixture
) -> tuple[float, float]:
    """Eq. (1), and the width of modes over the data's."""
    distance = np.mean(np.abs(np.sort(samples) - mixture.quantiles(len(samples))))
    away = np.abs(samples[:, None] - np.asarray(mixture.centers)).min(axis=1)
    return float(distance), float(np.sqrt(np.mean(away**2)) / mixture.deviation)


def markdown(
    found: Sequence[Accuracy], mixture: NormalMixture, num: int, rounds: int
) -> str:
    """A table: a row for each sampler and grid, two columns for a number of calls."""
    calls = sorted({row.calls for row in found})
    header = ["sampler", "steps"]
    header += [f"W1, {n} calls" for n in calls] + [f"width, {n} calls" for n in calls]
    by_key = {(row.sampler, row.grid, row.calls): row for row in found}
    rows = []
    for sampler, grid in dict.fromkeys((row.sampler, row.grid) for row in found):
        own = [by_key[sampler, grid, n] for n in calls]
        cells = [_cell(row.distance, 4) for row in own]
        rows.append([sampler, grid, *cells, *(_cell(row.width, 2) for row in own)])
    floor = [_floor(mixture, i, num) for i in range(rounds)]
    noise = estimate_mean(np.array(floor))
    lines = [
        f"{rounds} rounds of {num:,} samples; standard errors over rounds in brackets. "
        f"As many draws of the data have W1 = {_cell(noise, 4)}.",
        "",
        *markdown_table(header, rows, texts=2),
    ]
    return "\n".join(lines) + "\n"


def _floor(mixture: NormalMixture, seed: int, num: int) -> float:
    """Eq. (1) of draws of the data themselves."""
    return compare(mixture.draw(np.random.default_rng(seed), num), mixture)[0]


def _cell(estimate: Estimate, digits: int) -> str:
    return f"{estimate.value:.{digits}f} ({estimate.standard_error:.{digits}f})"


def write(found: Sequence[Accuracy], text: str, folder: pathlib.Path) -> None:
    """``exact.md`` and ``exact.json``."""
    write_file(folder / "exact.md", text)
    rows = [dataclasses.asdict(row) for row in found]
    write_file(folder / "exact.json", json.dumps(rows, indent=2) + "\n")

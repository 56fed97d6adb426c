r"""What one denoising step has to draw, and how far from Normal that is.

Data on the line are a mixture (``lsgm.benchmarks.mixture``), so levels of a chain are
too: x_{k-1} ~ sum_i p_i N(m_i, v_i). With x_k = sqrt(1 - beta) x_{k-1} + sqrt(beta) n,

    q(x_{k-1} | x_k) = sum_i r_i N(m_i + gain_i (x_k - sqrt(1 - beta) m_i), w_i),  (1)
    s_i = (1 - beta) v_i + beta,   gain_i = sqrt(1 - beta) v_i / s_i,
    w_i = beta v_i / s_i,   r_i ~ p_i N(x_k; sqrt(1 - beta) m_i, s_i).             (2)

A diffusion model takes a Normal distribution for it. The best one has the moments of
(1), and misses it by the divergence

    J(x_k) = KL(q(x_{k-1} | x_k) || N of the same moments)   nats,         (3)

of which the tables have the mean over x_k. It falls with the size of steps. A generator
with a latent is for large ones.

Source: Denoising diffusion GANs, arXiv 2112.07804, section 3 and its second figure.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lsgm.benchmarks.mixture import NormalMixture
from lsgm.files import write_file
from lsgm.reports.figures import INK, draw_png
from lsgm.reports.markdown import markdown_table
from lsgm.sdes.chain import Chain
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.scalar import VariancePreservingSDE
from lsgm.sdes.vpsde import VPSDE
from lsgm.typing import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCHEDULES: dict[str, VariancePreservingSDE] = {
    "published": VPSDE(),
    "geometric": GeometricVPSDE(var_min=3e-3, var_max=0.9999),
}
STEPS = (1, 2, 4, 8, 16, 64, 250, 1000)
SHOWN = (1, 2, 4, 8, 64, 1000)
# Points of an integral over x_{k-1}, and of one over x_k.
INNER, OUTER = 801, 101


@dataclasses.dataclass(frozen=True)
class Denoising:
    """Eq. (1) for a chain.

    Attributes:
      schedule: of ``SCHEDULES``; num_steps: T.
      divergence: mean of Eq. (3) over x_k, nats, for k = 1 .. T in order.
    """

    schedule: str
    num_steps: int
    divergence: tuple[float, ...]

    @property
    def worst(self) -> int:
        """The level k whose step is farthest from Normal."""
        return int(np.argmax(self.divergence)) + 1


@dataclasses.dataclass(frozen=True)
class ReverseStep:
    """Eq. (1) at one level, for some x_k.

    Attributes:
      weights, means: r_i and the means [n k]; variances: w_i [k].
    """

    weights: Float[np.ndarray, "n k"]
    means: Float[np.ndarray, "n k"]
    variances: Float[np.ndarray, " k"]

    def moments(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Mean and variance."""
        mean = np.sum(self.weights * self.means, axis=1)
        second = np.sum(self.weights * (self.variances + self.means**2), axis=1)
        return mean, second - mean**2

    def density(self, x: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
        """At ``x``, a row for each x_k."""
        parts = _normal(x[..., None], self.means[:, None], self.variances)
        return np.sum(self.weights[:, None] * parts, axis=-1)

    def divergence(self) -> Float[np.ndarray, " n"]:
        """Eq. (3), by a sum over 16 deviations: the entropies' difference."""
        mean, var = self.moments()
        std = np.sqrt(var)
        x = mean[:, None] + std[:, None] * np.linspace(-8, 8, INNER)
        q = self.density(x)
        logs = np.log(np.maximum(q, 1e-300))
        entropy = -np.sum(q * logs, axis=1) * 16 * std / (INNER - 1)
        return 0.5 * np.log(2 * math.pi * math.e * var) - entropy


def posterior(
    mixture: NormalMixture, chain: Chain, level: int, x: Float[np.ndarray, " n"]
) -> ReverseStep:
    """Eq. (1) at x_k = ``x``, for level k."""
    means, variances = _level(mixture, chain, level - 1)
    beta = chain.table.beta[level - 1]
    keep = math.sqrt(1 - beta)
    spread = (1 - beta) * variances + beta
    away = x[:, None] - keep * means
    logs = np.log(mixture.weights) + np.log(_normal(away, 0.0, spread) + 1e-300)
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return ReverseStep(
        weights=weights / weights.sum(axis=1, keepdims=True),
        means=means + keep * variances / spread * away,
        variances=beta * variances / spread,
    )


def measure(mixture: NormalMixture, schedule: str, num_steps: int) -> Denoising:
    """Eq. (3) at every level."""
    chain = Chain(num_steps=num_steps, sde=SCHEDULES[schedule])
    found = []
    for level in range(1, num_steps + 1):
        means, variances = _level(mixture, chain, level)
        edge = np.abs(means).max() + 6 * math.sqrt(variances.max())
        x = np.linspace(-edge, edge, OUTER)
        marginal = _normal(x[:, None], means, variances) @ np.asarray(mixture.weights)
        divergence = posterior(mixture, chain, level, x).divergence()
        found.append(float(np.sum(marginal * divergence) / np.sum(marginal)))
    return Denoising(schedule, num_steps, tuple(found))


def _level(
    mixture: NormalMixture, chain: Chain, level: int
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Means and variances of x_k's parts; level 0 is the data."""
    abar = 1.0 if level == 0 else chain.table.abar[level - 1]
    means = math.sqrt(abar) * np.asarray(mixture.centers)
    return means, np.full(means.size, abar * mixture.deviation**2 + 1 - abar)


def _normal(x: np.ndarray, mean: np.ndarray | float, var: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * (x - mean) ** 2 / var) / np.sqrt(2 * math.pi * var)


def draw(mixture: NormalMixture, found: Sequence[Denoising]) -> bytes:
    """A PNG: for each T of ``SHOWN`` among ``found``, which are of one schedule, the
    distribution of the step farthest from Normal, and the Normal one of the same
    moments, at the x_k where they differ most."""
    shown = [entry for entry in found if entry.num_steps in SHOWN]

    def fill(figure: "Figure") -> None:
        places = figure.subplots(2, len(SHOWN) // 2).ravel()
        for axes, entry in zip(places, shown, strict=True):
            _panel(axes, mixture, entry)
        handles, labels = places[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)

    return draw_png((8.6, 5.2), fill)


def _panel(axes: "Axes", mixture: NormalMixture, entry: Denoising) -> None:
    chain = Chain(num_steps=entry.num_steps, sde=SCHEDULES[entry.schedule])
    x = np.linspace(-2, 2, OUTER)
    divergence = posterior(mixture, chain, entry.worst, x).divergence()
    at = posterior(mixture, chain, entry.worst, x[[np.argmax(divergence)]])
    mean, var = at.moments()
    grid = mean + np.sqrt(var) * np.linspace(-4, 4, 801)
    axes.fill_between(grid, at.density(grid[None])[0], alpha=0.3, label="q, exactly")
    normal = _normal(grid, mean, var)
    axes.plot(grid, normal, color=INK, label="Normal of the same moments")
    miss = f"{max(divergence):.2g} nats"
    axes.set_title(f"T = {entry.num_steps}, k = {entry.worst}: {miss}")
    axes.locator_params(axis="x", nbins=5)
    axes.set_yticks([])
    axes.grid(False)


def markdown(found: Sequence[Denoising]) -> str:
    """A row for each T, and columns of each schedule: the largest divergence of a step,
    its level, and the sum over levels."""
    names = list(dict.fromkeys(row.schedule for row in found))
    header = ["T"]
    for name in names:
        header += [f"{name}: largest, nats", "at k", "sum over k, nats"]
    rows = []
    for num_steps in dict.fromkeys(row.num_steps for row in found):
        cells = [str(num_steps)]
        for row in (r for r in found if r.num_steps == num_steps):
            total = sum(row.divergence)
            cells += [f"{max(row.divergence):.2g}", str(row.worst), f"{total:.2g}"]
        rows.append(cells)
    return "\n".join(markdown_table(header, rows, texts=0)) + "\n"


def write(
    found: Sequence[Denoising], text: str, picture: bytes, folder: pathlib.Path
) -> None:
    """``denoising.md``, ``denoising.json`` and ``denoising.png``."""
    write_file(folder / "denoising.md", text)
    rows = [dataclasses.asdict(row) for row in found]
    write_file(folder / "denoising.json", json.dumps(rows, indent=2) + "\n")
    write_file(folder / "denoising.png", picture)

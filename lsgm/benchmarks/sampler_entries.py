r"""Who competes in the sampler tournament.

A family is one method with a few variants: grids, starts, orders. Which variant a
family plays with is decided on draws of its own that score nothing. Starts below 1 are
Normal starts at noise-to-signal ratios kappa = sigma / alpha of 25 and 6, so that they
mean the same for every process (t = 0.79 and 0.60 for the default linear VPSDE).

Deterministic families play at all numbers of calls. Stochastic ones, which need tens of
steps, play at 10 and 50 only. Adaptive solvers spend what they spend.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from lsgm.samplers.ancestral import Ancestral
from lsgm.samplers.base import Sampler
from lsgm.samplers.ddim import DDIM
from lsgm.samplers.deis import DEIS
from lsgm.samplers.dpm_solver import DPMSolver
from lsgm.samplers.euler_maruyama import EulerMaruyama
from lsgm.samplers.fixed_grid import FixedGrid
from lsgm.samplers.grids import (
    Angle,
    Karras,
    LogSNR,
    Quadratic,
    UniformGrid,
    marginals,
    times_of,
)
from lsgm.samplers.heun import Heun
from lsgm.samplers.normal_residual import NormalResidual
from lsgm.samplers.predictor_corrector import PredictorCorrector
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.samplers.reverse_diffusion import ReverseDiffusion
from lsgm.samplers.unipc import UniPC
from lsgm.sdes.scalar import ScalarSDE

KAPPAS = (25.0, 6.0)
STOCHASTIC_CALLS = (10, 50)
STOCHASTIC: dict[str, FixedGrid] = {
    "Euler-Maruyama": EulerMaruyama(),
    "reverse diffusion": ReverseDiffusion(),
    "ancestral, kernel variance": Ancestral(),
    "ancestral, posterior variance": Ancestral(variance="posterior"),
    "predictor-corrector": PredictorCorrector(),
}
BASELINE, CONVERGED = "RK45 1e-2", "RK45 1e-5"


@dataclasses.dataclass(frozen=True)
class Family:
    """A method with what it may play with.

    Attributes:
      variants: samplers of any number of steps.
      only: numbers of calls that it plays at; all where empty.
    """

    name: str
    variants: tuple[FixedGrid, ...]
    only: tuple[int, ...] = ()

    def calls(self, asked: Sequence[int]) -> list[int]:
        """Those of the numbers asked for that it plays at and that differ for it."""
        first = self.variants[0]
        found = {
            steps: calls
            for calls in sorted(asked, reverse=True)
            if (not self.only or calls in self.only)
            and (steps := steps_of(first, calls)) is not None
        }
        return sorted(found.values())


def families(sde: ScalarSDE) -> list[Family]:
    """All fixed-grid families with their variants at every start."""
    # Grids even in log kappa spend their calls near the data unless they stop before.
    log_grids = [
        {"grid": LogSNR(), "t_end": 1e-3},
        {"grid": Angle()},
        {"grid": UniformGrid(), "t_end": 1e-3},
    ]
    karras = [{"grid": Karras(), "t_end": 1e-3}, *log_grids[1:]]
    of_time = [{"grid": UniformGrid()}, {"grid": Quadratic()}, {"grid": Angle()}]
    orders = [{"order": order} for order in (1, 2, 3)]
    table: list[tuple[str, FixedGrid, list[dict]]] = [
        ("Normal residual", NormalResidual(), orders),
        ("UniPC-2", UniPC(), log_grids),
        ("DPM-Solver++ 2M", DPMSolver(), log_grids),
        ("DEIS-3", DEIS(), of_time),
        ("Heun", Heun(), karras),
        ("DDIM", DDIM(), of_time),
    ]
    return [
        Family(name, tuple(_started(sde, method, settings)))
        for name, method, settings in table
    ] + [
        Family(name, tuple(_started(sde, method, [{"t_end": 1e-3}])), STOCHASTIC_CALLS)
        for name, method in STOCHASTIC.items()
    ]


def adaptive() -> dict[str, ProbabilityFlow]:
    """Solvers with step control, by name."""

    def flow(tolerance: float, **settings: object) -> ProbabilityFlow:
        fields = {"rtol": tolerance, "atol": tolerance, **settings}
        return dataclasses.replace(ProbabilityFlow(), **fields)

    return {
        BASELINE: flow(1e-2),
        "RK45 1e-2, first step 0.4": flow(1e-2, first_step=0.4),
        "RK45 1e-1": flow(1e-1),
        CONVERGED: flow(1e-5),
        "Tsit5 1e-2": flow(1e-2, method="tsit5"),
    }


def steps_of(sampler: FixedGrid, calls: int) -> int | None:
    """As many steps as ``calls`` network calls pay for; None where they pay for too
    few."""
    match sampler:
        case Heun():
            return (calls + 1) // 2
        case PredictorCorrector():
            return calls // (1 + sampler.num_corrections) or None
        case Ancestral():
            return calls if calls > 1 else None
    return calls


def with_calls(sampler: FixedGrid, calls: int) -> FixedGrid:
    """The sampler with the steps that ``calls`` pay for."""
    return dataclasses.replace(sampler, num_steps=steps_of(sampler, calls))


def described(sampler: Sampler) -> str:
    """The settings that make a variant, in words."""
    if not isinstance(sampler, FixedGrid):
        return ""
    order = f"order {vars(sampler)['order']}, " if "order" in vars(sampler) else ""
    grid = type(sampler.grid).__name__.lower().removesuffix("grid")
    return f"{order}{grid} grid, t {sampler.t_start:.2g} to {sampler.t_end:.0e}"


def _started(
    sde: ScalarSDE, method: FixedGrid, settings: list[dict]
) -> Iterator[FixedGrid]:
    last = float(marginals(sde, np.ones(1)).kappa[0])
    kappas = np.log([kappa for kappa in KAPPAS if kappa < last])
    for t_start in (1.0, *times_of(sde, kappas)):
        for setting in settings:
            start = math.floor(1e4 * t_start) / 1e4
            yield dataclasses.replace(method, **setting, t_start=start)

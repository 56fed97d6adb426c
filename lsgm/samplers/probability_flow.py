r"""The probability-flow ODE with adaptive steps: LSGM's default sampler.

    du/dt = f(u, t) - g^2 / 2 score(u, t),  from t = 1 to t_end,           (1)

by an embedded Runge-Kutta pair. ``nfe`` is the number of network calls that were
executed: one at the start, one to choose the first step, and for each attempted
step, accepted or not, the pair's stages, of which the last is the first of the next
step. For Dormand-Prince that is

    nfe = 2 + 6 attempts,                                                  (2)

and one less with a given first step.

Steps are shared by the batch: the error norm is over all its numbers, so the steps,
the calls and to within the tolerance the samples depend on what is solved together.
With ``per_sample`` each example has its own steps; the batch then runs until the
last one is done, and ``nfe`` is that one's.

Sources: Song et al., arXiv 2011.13456, section 4.3; LSGM, arXiv 2106.05931,
appendix on evaluation; Dormand and Prince 1980.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lsgm.samplers.base import Sampler, Samples
from lsgm.samplers.flow_solver import FlowSolver, Slope, Solution
from lsgm.sdes.base import SDE
from lsgm.typing import Array, PRNGKey, PyTree, ResidualFn, State, Time

METHODS = ("dopri5", "tsit5", "bosh3")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbabilityFlow(Sampler, FlowSolver):
    """Eq. (1) with step control (``lsgm.samplers.step_control``).

    Attributes:
      rtol, atol: relative and absolute tolerance of one step's error.
      method: the pair: "dopri5", "tsit5" or "bosh3".
      first_step: length of the first attempt; chosen from the slope when None.
      per_sample: control the steps of each example on its own.
      max_steps: attempts after which the solver gives up: the state is NaN then, for
        compiled code cannot raise; see ``lsgm.samplers.base.require_finite``.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    method: str = "dopri5"
    first_step: float | None = None
    per_sample: bool = False
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rtol", "atol", "max_steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.method not in METHODS:
            raise ValueError(
                f"method = {self.method!r}: allowed are {', '.join(METHODS)}"
            )
        if self.first_step is not None and not 0 < self.first_step <= 1:
            raise ValueError(f"first_step must lie in (0, 1], not {self.first_step}")

    def __call__(
        self,
        key: PRNGKey,
        sde: SDE,
        residual_fn: ResidualFn,
        u1: State,
        *,
        num_path: int = 0,
    ) -> Samples:
        del key
        field = velocity(sde, residual_fn)

        def flow(u: State, t: Time, args: None) -> State:
            del args
            return field(u, t)

        done = Samples(*self.solve(flow, u1, 1.0, self.t_end, num_path=num_path))
        return self.finish(sde, residual_fn, done)

    def field(
        self, sde: SDE, residual_fn: ResidualFn
    ) -> Callable[[State, Time], State]:
        return velocity(sde, residual_fn)

    def integrate(self, sde: SDE, slope: Slope, y0: PyTree, args: PyTree) -> Solution:
        del sde
        return self.solve(slope, y0, self.t_end, 1.0, args)

    def loosened(self, factor: float) -> "ProbabilityFlow":
        """With both tolerances larger, by ``factor``."""
        rtol, atol = factor * self.rtol, factor * self.atol
        return dataclasses.replace(self, rtol=rtol, atol=atol)

    @property
    def settings(self) -> dict[str, Any]:
        return {"rtol": self.rtol, "atol": self.atol, "t_end": self.t_end}

    def solve(
        self,
        field: Slope,
        y0: PyTree,
        t0: float | Array,
        t1: float | Array,
        args: PyTree = None,
        *,
        num_path: int = 0,
    ) -> Solution:
        """Integrate dy/dt = field(y, t [b], args) from t0 to t1.

        Args:
          y0, args: trees of arrays [b ...].
          num_path: how many states to keep, evenly in time, ends included.
        """
        if not self.per_sample:
            return self._solve(field, y0, t0, t1, args, num_path)

        def solve_one(y: PyTree, args: PyTree) -> Solution:
            y, args = jax.tree.map(lambda leaf: leaf[None], (y, args))
            one = self._solve(field, y, t0, t1, args, num_path)
            y = jax.tree.map(lambda leaf: leaf[0], one.y)
            path = jax.tree.map(lambda leaf: leaf[:, 0], one.path)
            return Solution(y, one.nfe, path)

        axes: Any = Solution(y=0, nfe=0, path=1)  # type: ignore
        each = jax.vmap(solve_one, out_axes=axes)(y0, args)
        return each._replace(nfe=jnp.max(each.nfe))

    def _solve(
        self,
        field: Slope,
        y0: PyTree,
        t0: float | Array,
        t1: float | Array,
        args: PyTree,
        num_path: int,
    ) -> Solution:
        # diffrax is slow to load, and may be loaded here while a caller is traced.
        with jax.ensure_compile_time_eval():
            from lsgm.samplers import runge_kutta

        y, calls, path = runge_kutta.solve(
            field,
            y0,
            t0,
            t1,
            args,
            num_path,
            pair=runge_kutta.PAIRS[self.method],
            control=runge_kutta.SciPyController(rtol=self.rtol, atol=self.atol),
            first=self.first_step,
            max_steps=self.max_steps,
        )
        return Solution(y, calls, path)


def velocity(sde: SDE, residual_fn: ResidualFn) -> Callable[[State, Time], State]:
    """(u, t) -> du/dt of Eq. (1), one network call."""
    return lambda u, t: sde.probability_flow(u, t, residual_fn(u, t))

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
from typing import Any, ClassVar, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from lsgm.samplers.base import Sampler, Samples
from lsgm.samplers.step_control import SciPyController, first_step
from lsgm.sdes.base import SDE
from lsgm.typing import Array, PRNGKey, PyTree, ResidualFn, State, Time


class DormandPrince(diffrax.Dopri5):
    """Dormand and Prince's pair with their own embedded method of order 4.

    diffrax has Shampine's, whose larger error estimate takes other steps.
    """

    tableau: ClassVar[diffrax.ButcherTableau] = dataclasses.replace(
        diffrax.Dopri5.tableau,
        b_error=np.array(
            [71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40]
        ),
    )


METHODS = {
    "dopri5": DormandPrince(),
    "tsit5": diffrax.Tsit5(),
    "bosh3": diffrax.Bosh3(),
}


class Solution(NamedTuple):
    """A solved ODE.

    Attributes:
      y: the state at the end, [b ...] in each leaf; NaN where ``max_steps`` did not
        reach it.
      nfe: calls of the velocity, int32 scalar.
      path: states along the way, [num_path b ...] in each leaf, or None.
    """

    y: PyTree
    nfe: Array
    path: PyTree | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbabilityFlow(Sampler):
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

    def solve(
        self,
        field: Callable[[PyTree, Time, PyTree], PyTree],
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
        field: Callable[[PyTree, Time, PyTree], PyTree],
        y0: PyTree,
        t0: float | Array,
        t1: float | Array,
        args: PyTree,
        num_path: int,
    ) -> Solution:
        leaf = jax.tree.leaves(y0)[0]
        start, end = jnp.asarray(t0, leaf.dtype), jnp.asarray(t1, leaf.dtype)

        # jit: traced once, for all the places where diffrax calls it.
        @jax.jit
        def at(t: Any, y: PyTree, args: PyTree) -> PyTree:
            return field(y, jnp.full(leaf.shape[:1], t), args)

        solver = METHODS[self.method]
        control = SciPyController(rtol=self.rtol, atol=self.atol)
        f0 = at(start, y0, args)
        if self.first_step is None:
            order = solver.order(diffrax.ODETerm(at))
            first = first_step(
                lambda t, y: at(t, y, args), start, y0, f0, end - start, control, order
            )
        else:
            first = jnp.asarray(self.first_step, leaf.dtype)
        save = (
            diffrax.SaveAt(ts=jnp.linspace(start, end, num_path))
            if num_path
            else diffrax.SaveAt(t1=True)
        )
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(at),
            solver,
            start,
            end,
            None,
            y0,
            args=args,
            saveat=save,
            stepsize_controller=dataclasses.replace(control, first=first),
            # The first stage of the first step is known: f0.
            solver_state=(jnp.array(False), f0),
            max_steps=self.max_steps,
            adjoint=diffrax.ForwardMode(),
            throw=False,
        )
        stages = solver.tableau.num_stages - 1
        starts = 2 if self.first_step is None else 1
        calls = starts + stages * solution.stats["num_steps"]
        solved = solution.result == diffrax.RESULTS.successful
        ys = jax.tree.map(lambda y: jnp.where(solved, y, jnp.nan), solution.ys)
        y = jax.tree.map(lambda path: path[-1], ys)
        path = ys if num_path else None
        return Solution(y, jnp.asarray(calls, jnp.int32), path)


def velocity(sde: SDE, residual_fn: ResidualFn) -> Callable[[State, Time], State]:
    """(u, t) -> du/dt of Eq. (1), one network call."""
    return lambda u, t: sde.probability_flow(u, t, residual_fn(u, t))

"""Embedded Runge-Kutta pairs on diffrax, with this package's step control.

Sources: Dormand and Prince 1980; Tsitouras 2011; Bogacki and Shampine 1989.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from lsgm.samplers.step_control import SciPyController, first_step
from lsgm.typing import Array, PyTree, Time


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


PAIRS = {
    "dopri5": DormandPrince(),
    "tsit5": diffrax.Tsit5(),
    "bosh3": diffrax.Bosh3(),
}


def solve(
    field: Callable[[PyTree, Time, PyTree], PyTree],
    y0: PyTree,
    t0: float | Array,
    t1: float | Array,
    args: PyTree,
    num_path: int,
    *,
    pair: Any,
    control: SciPyController,
    first: float | None,
    max_steps: int,
) -> tuple[PyTree, Array, PyTree | None]:
    """The state at ``t1``, the calls of ``field``, and ``num_path`` states along the
    way, or None: as ``lsgm.samplers.probability_flow.Solution``.

    Args:
      pair: one of ``PAIRS``.
      first: length of the first attempt; chosen from the slope when None.
    """
    leaf = jax.tree.leaves(y0)[0]
    start, end = jnp.asarray(t0, leaf.dtype), jnp.asarray(t1, leaf.dtype)

    # jit: traced once, for all the places where diffrax calls it.
    @jax.jit
    def at(t: Any, y: PyTree, args: PyTree) -> PyTree:
        return field(y, jnp.full(leaf.shape[:1], t), args)

    f0 = at(start, y0, args)
    if first is None:
        order = pair.order(diffrax.ODETerm(at))
        length = first_step(
            lambda t, y: at(t, y, args), start, y0, f0, end - start, control, order
        )
    else:
        length = jnp.asarray(first, leaf.dtype)
    save = (
        diffrax.SaveAt(ts=jnp.linspace(start, end, num_path))
        if num_path
        else diffrax.SaveAt(t1=True)
    )
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(at),
        pair,
        start,
        end,
        None,
        y0,
        args=args,
        saveat=save,
        stepsize_controller=dataclasses.replace(control, first=length),
        # The first stage of the first step is known: f0.
        solver_state=(jnp.array(False), f0),
        max_steps=max_steps,
        adjoint=diffrax.ForwardMode(),
        throw=False,
    )
    stages = pair.tableau.num_stages - 1
    starts = 2 if first is None else 1
    calls = starts + stages * solution.stats["num_steps"]
    solved = solution.result == diffrax.RESULTS.successful
    ys = jax.tree.map(lambda y: jnp.where(solved, y, jnp.nan), solution.ys)
    y = jax.tree.map(lambda path: path[-1], ys)
    path = ys if num_path else None
    return y, jnp.asarray(calls, jnp.int32), path

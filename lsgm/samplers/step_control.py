r"""Step control of SciPy's ``solve_ivp``, which published call counts rest on.

The error of a step, e, is accepted when below 1:

    e = rms(error / (atol + rtol max(|y_0|, |y_1|))).                      (1)

The next step is longer by

    factor = clip(0.9 e^(-1/5), 0.2, 10),                                  (2)

at most 1 right after a rejection. The first step is Hairer's: with rms norms d_0 of
y_0, d_1 of f_0, both over atol + rtol |y_0|,

    h_0 = 0.01 d_0 / d_1,  d_2 = rms(f(y_0 + h_0 f_0) - f_0) / h_0,        (3)
    h = min(100 h_0, (0.01 / max(d_1, d_2))^(1/5)).                        (4)

diffrax's own PID controller differs: it never shortens an accepted step, and spends
three calls where (3) needs two. The exponent is 1 / 5 for the order 5 of the pair;
other pairs have their own.

Source: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I,
section II.4; the constants are SciPy's.
"""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

from lsgm.typing import Array, PyTree

_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 10.0


def rms(y: PyTree) -> Array:
    """Root mean square over all numbers of a tree."""
    leaves = jax.tree.leaves(y)
    total = sum(jnp.sum(leaf**2) for leaf in leaves)
    return jnp.sqrt(total / sum(leaf.size for leaf in leaves))


class SciPyController(diffrax.AbstractAdaptiveStepSizeController):
    """Eqs. (1) and (2). State: whether the last step was rejected.

    Attributes:
      first: length of the first attempt, positive. It is kept here, for diffrax
        checks a ``dt0`` by a callback to the host, and JAX keeps no compiled program
        that has one.
    """

    rtol: float
    atol: float
    norm: Callable[[PyTree], Array] = rms
    first: Array | None = None

    def wrap(self, direction: Any) -> "SciPyController":
        del direction
        return self

    def init(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        dt0: Any,
        args: Any,
        func: Any,
        error_order: Any,
    ) -> tuple[Any, Any]:
        """The first step ends at t0 + first; diffrax has turned time to run forward."""
        del terms, t1, y0, dt0, args, func, error_order
        return t0 + self.first, jnp.array(False)

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: Any,
        y1_candidate: Any,
        args: Any,
        y_error: Any,
        error_order: Any,
        controller_state: Any,
    ) -> tuple[Any, Any, Any, Any, Any, Any]:
        """Accept or reject the step from t0 to t1, and size the next one."""
        del args
        tolerated = jax.tree.map(
            lambda e, a, b: e / self._scale(jnp.maximum(jnp.abs(a), jnp.abs(b))),
            y_error,
            y0,
            y1_candidate,
        )
        error = self.norm(tolerated)
        accepted = error < 1
        longest = jnp.where(accepted & controller_state, 1.0, _GROW)
        factor = jnp.clip(_SAFETY * error ** (-1 / error_order), _SHRINK, longest)
        # An error that is not a number rejects the step, and the solver runs into
        # its largest number of steps, which is said in words.
        factor = jnp.where(jnp.isfinite(factor), factor, _SHRINK)
        start = jnp.where(accepted, t1, t0)
        end = start + (t1 - t0) * factor.astype(t0.dtype)
        ok = diffrax.RESULTS.successful
        return accepted, start, end, False, ~accepted, ok

    def _scale(self, size: Array) -> Array:
        return self.atol + self.rtol * size


def first_step(
    field: Callable[[Array, PyTree], PyTree],
    t0: Array,
    y0: PyTree,
    f0: PyTree,
    length: Array,
    control: SciPyController,
    order: int,
) -> Array:
    """Eqs. (3) and (4), with one call of ``field``, the velocity.

    Args:
      f0: field(t0, y0).
      length: of the whole interval, negative when it runs backwards.

    Returns:
      h, positive.
    """
    direction = jnp.sign(length)
    scale = jax.tree.map(lambda y: control._scale(jnp.abs(y)), y0)

    def norm(y: PyTree) -> Array:
        return control.norm(jax.tree.map(jnp.divide, y, scale))

    d0, d1 = norm(y0), norm(f0)
    tiny = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = jnp.where(tiny, 1e-6, 0.01 * d0 / jnp.where(tiny, 1.0, d1))
    h0 = jnp.minimum(h0, jnp.abs(length))
    step = direction * h0
    f1 = field(t0 + step, jax.tree.map(lambda y, f: y + step * f, y0, f0))
    d2 = norm(jax.tree.map(jnp.subtract, f1, f0)) / h0
    steepest = jnp.maximum(d1, d2)
    flat = steepest <= 1e-15
    h1 = (0.01 / jnp.where(flat, 1.0, steepest)) ** (1 / order)
    h1 = jnp.where(flat, jnp.maximum(1e-6, 1e-3 * h0), h1)
    return jnp.minimum(jnp.minimum(100 * h0, h1), jnp.abs(length))

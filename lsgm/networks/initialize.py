"""Variables of a Linen module without compiling, or running, its forward pass.

Compiled as one program, the hundreds of draws of a deep network take a minute;
called eagerly, the whole forward pass runs. Here ``init`` is traced, what its
variables do not need is dropped, and the rest is evaluated equation by equation,
so that XLA compiles one small program per distinct shape.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.extend

from lsgm.typing import Array, Params, PRNGKey

# What a config may name where a network is asked for.
Network: TypeAlias = nn.Module


def initialize(
    module: nn.Module,
    key: PRNGKey,
    *args: Any,
    collections: tuple[str, ...] = ("params",),
    **kwargs: Any,
) -> Params:
    """``module.init(key, *args, **kwargs)``, these collections only.

    Args:
      args: arrays, or trees of them; only their shapes matter.
      kwargs: static arguments.
    """

    def variables(key: PRNGKey, *args: Any) -> Params:
        state = module.init(key, *args, **kwargs)
        return {name: state.get(name, {}) for name in collections}

    return evaluate(variables, key, *args)


def evaluate(fn: Callable[..., Any], *args: Any) -> Any:
    """``fn(*args)``, equation by equation and only those that its result needs.

    For a result that costs little and a function that also computes much else.
    """
    traced, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
    outputs = _evaluate(traced, jax.tree.leaves(args))
    return jax.tree.unflatten(jax.tree.structure(shapes), outputs)


def _evaluate(traced: jax.extend.core.ClosedJaxpr, inputs: list[Array]) -> list[Array]:
    """Outputs of a traced function, without the equations that they do not need."""
    jaxpr = traced.jaxpr
    needed = set(map(id, jaxpr.outvars))
    kept = []
    for equation in reversed(jaxpr.eqns):
        if needed.intersection(map(id, equation.outvars)):
            kept.append(equation)
            needed.update(map(id, equation.invars))
    pruned = jaxpr.replace(eqns=kept[::-1])
    run = jax.extend.core.jaxpr_as_fun(
        jax.extend.core.ClosedJaxpr(pruned, traced.consts)
    )
    return run(*inputs)

"""Variables of a Linen module without compiling, or running, its forward pass.

Compiled as one program, the hundreds of draws of a deep network take a minute;
called eagerly, the whole forward pass runs. Here ``init`` is traced, what its
variables do not need is dropped, and NumPy computes the rest.
"""

from typing import Any, TypeAlias

import flax.linen as nn

from lsgm.interpreter import evaluate
from lsgm.typing import Params, PRNGKey

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

"""Everything that a training run carries from one step to the next."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from lsgm.typing import Params, PRNGKey


class TrainState(flax.struct.PyTreeNode):
    """A complete snapshot: restoring it continues the run bit for bit.

    Attributes:
      step: updates made so far, int32 scalar.
      key: the run's root key; it never changes, every step folds its number in.
      params: parameters by group.
      opt: optimiser state by trained group.
      ema: averaged parameters by averaged group.
      mutables: by group: batch statistics, power-iteration vectors, masks.
    """

    step: Any
    key: Any
    params: Any
    opt: Any
    ema: Any
    mutables: Any

    @property
    def averaged(self) -> Params:
        """Parameters to evaluate with: the average where there is one."""
        return {**self.params, **self.ema}


def create(
    key: PRNGKey,
    params: Params,
    mutables: Params,
    optimizers: dict[str, Any],
    averaged: tuple[str, ...],
) -> TrainState:
    """The state before the first step, for these trained groups' optimisers and the
    ``averaged`` ones among them."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        params=params,
        opt={g: optimizer.init(params[g]) for g, optimizer in optimizers.items()},
        ema={g: jax.tree.map(jnp.copy, params[g]) for g in averaged},
        mutables=mutables,
    )

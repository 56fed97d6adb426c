"""How a training loop is looked at from outside, every so many steps."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lsgm.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Observation:
    """Scalars to log, and pictures to show, uint8 [h w c]."""

    scalars: dict[str, float]
    pictures: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


class Observer(NamedTuple):
    """``observe(state)`` is called every ``every`` steps, and after the last."""

    every: int
    observe: Callable[[TrainState], Observation] | Any

"""The state at which an observed scalar was least, kept in a folder of its own.

``<stage>/best/<step>`` is a checkpoint like those beside it, and the one that sampling
and evaluating take (``lsgm.training.checkpoints.find``). What it was chosen by
stands in its ``meta``, so a resumed run goes on choosing where it stopped; a step that
is observed again gives the same value and is not saved twice.
"""

from typing import Any

from lsgm.training.checkpoints import Checkpoints
from lsgm.training.state import TrainState


class Best:
    """Keeps the best state so far."""

    def __init__(self, checkpoints: Checkpoints, scalar: str, meta: dict[str, Any]):
        """Open.

        Args:
          checkpoints: of the stage's folder ``best``.
          scalar: the observed name that is to be least.
          meta: what makes a checkpoint self-describing.
        """
        self._checkpoints, self._scalar, self._meta = checkpoints, scalar, meta
        newest = checkpoints.latest_meta()
        chosen_by = {} if newest is None else newest.get("chosen_by", {})
        self._least = chosen_by.get(scalar, float("inf"))

    def look(self, state: TrainState, scalars: dict[str, float]) -> None:
        """Save ``state`` if the scalar is among ``scalars`` and less than ever.

        Raises:
          lsgm.training.checkpoints.CheckpointError: it could not be written.
        """
        value = scalars.get(self._scalar, float("inf"))
        if value < self._least:
            chosen_by = {self._scalar: value}
            self._checkpoints.save(state, {**self._meta, "chosen_by": chosen_by})
            self._least = value

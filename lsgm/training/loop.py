"""The training loop of one stage. The order of events in a step is fixed:

1. take batch ``step`` and dispatch the update;
2. every ``log_every`` steps: fetch the window's metrics, check them, log means;
3. every observer whose period ends: observe, log;
4. every ``checkpoint_every`` steps, at the last step, and when asked to stop:
   save the state, the metrics of the unfinished window, and the data position.

A checkpoint therefore holds a state whose records up to its step are on disk,
and a resumed run writes the records that the uninterrupted run would have.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lsgm.training.best import Best
from lsgm.training.checkpoints import Checkpoints
from lsgm.training.guard import SkipWatch, StopRequest
from lsgm.training.observe import Observer
from lsgm.training.parallel import local_copy, split_over_devices
from lsgm.training.stage import Stage
from lsgm.training.state import TrainState
from lsgm.training.writers import Writers


class Interrupted(Exception):
    """The run was asked to stop, and has saved its state."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """One stage's loop and what it talks to.

    Attributes:
      update: the mapped update, (state, batch [devices b ...]) -> (state,
        metrics).
      batches: ``batches(step)`` is an iterator over training batches from there.
      checkpoints, writers: where states and records go.
      observers: look every so many steps, and after the last.
      best: keeps the best state by what they see, where the stage asks for it.
      meta: what makes a checkpoint self-describing (config, stage, versions).
      skips: counts the updates skipped in a row.
    """

    stage: Stage
    update: Callable[..., Any]
    batches: Callable[[int], Any]
    checkpoints: Checkpoints
    writers: Writers
    observers: Sequence[Observer]
    meta: dict[str, Any]
    best: Best | None = None
    skips: SkipWatch = dataclasses.field(default_factory=SkipWatch)

    def run(
        self,
        state: TrainState,
        window: list[dict[str, float]],
        stop: StopRequest,
    ) -> TrainState:
        """Train from ``state`` to the stage's last step.

        Args:
          window: metrics of the steps since the last log, from the checkpoint.
          stop: set by a signal; looked at after every step.

        Raises:
          Interrupted: asked to stop; the state is saved.
          NonFiniteError: too many updates in a row were skipped.
        """
        step = int(state.step)
        pending: list[Any] = list(window)
        batches = self.batches(step)
        while step < self.stage.num_steps:
            batch = split_over_devices(next(batches))
            state, metrics = self.update(state, batch)
            pending.append(metrics)
            step += 1
            self.writers.advance(step)
            if step % self.stage.log_every == 0:
                pending = self._log(step, pending)
            self._observe(step, state)
            last = step == self.stage.num_steps
            if last or stop.requested or step % self.stage.checkpoint_every == 0:
                self._save(state, pending)
            if stop.requested and not last:
                raise Interrupted(f"saved {self.meta['stage']} at step {step}")
        return state

    def _log(self, step: int, pending: list[Any]) -> list[Any]:
        window = [_floats(metrics) for metrics in pending]
        self.skips.look(step, window)
        self.writers.scalars(step, _means(window))
        self.writers.rate(step)
        return []

    def _observe(self, step: int, state: TrainState) -> None:
        last = step == self.stage.num_steps
        for observer in self.observers:
            if last or step % observer.every == 0:
                seen = observer.observe(local_copy(state))
                self.writers.scalars(step, seen.scalars)
                if self.best is not None:
                    self.best.look(state, seen.scalars)
                for name, picture in seen.pictures.items():
                    self.writers.picture(step, name, picture)

    def _save(self, state: TrainState, pending: list[Any]) -> None:
        window = [_floats(metrics) for metrics in pending]
        self.checkpoints.save(state, {**self.meta, "window": window})


def _floats(metrics: dict[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in jax.device_get(metrics).items()}


def _means(window: list[dict[str, float]]) -> dict[str, float]:
    """Means over the steps that were not skipped; ``skipped`` over all."""
    taken = [m for m in window if not m["skipped"]] or window
    means = {k: float(np.mean([m[k] for m in taken])) for k in taken[0]}
    return means | {"skipped": float(np.mean([m["skipped"] for m in window]))}

"""The training loop of one stage. The order of events in a step is fixed:

1. take batch ``step`` and dispatch the update; check the metrics of the step before,
   which is done by then, so that the devices are never idle;
2. every ``log_every`` steps: check this step's metrics, log the window's means;
3. every observer whose period ends: observe, log;
4. every ``checkpoint_every`` steps, at the last step, and when asked to stop:
   check this step's metrics, save the state, the metrics of the unfinished window,
   and the data position.

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
from lsgm.training.guard import SPOILED, HealthWatch, Interrupted, StopRequest
from lsgm.training.hosts import Agreement, agree
from lsgm.training.observe import Observer
from lsgm.training.packing import pack_state, unpack_state
from lsgm.training.parallel import fetch, replicate, split_over_devices
from lsgm.training.stage import Stage
from lsgm.training.state import TrainState
from lsgm.training.writers import Writers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """One stage's loop and what it talks to.

    Attributes:
      update: the mapped update, (packed state, batch [devices b ...]) -> (packed
        state, metrics).
      batches: ``batches(step)`` is an iterator over training batches from there.
      checkpoints, writers: where states and records go.
      observers: look every so many steps, and after the last.
      best: keeps the best state by what they see, where the stage asks for it.
      meta: what makes a checkpoint self-describing (config, stage, versions).
      health: looks at every step's metrics.
    """

    stage: Stage
    update: Callable[..., Any]
    batches: Callable[[int], Any]
    checkpoints: Checkpoints
    writers: Writers
    observers: Sequence[Observer]
    meta: dict[str, Any]
    best: Best | None = None
    health: HealthWatch = dataclasses.field(default_factory=HealthWatch)

    def run(
        self,
        state: TrainState,
        window: list[dict[str, float]],
        stop: StopRequest,
    ) -> TrainState:
        """Train from ``state`` to the stage's last step. Packed states are the
        update's alone: what is given, observed, saved and returned are trees.

        Args:
          window: metrics of the steps since the last log, from the checkpoint.
          stop: set by a signal; looked at after every step, and heeded by all
            processes at the same one.

        Raises:
          Interrupted: asked to stop; the state is saved.
          DivergedError: too many steps in a row were suspicious.
        """
        step, window = int(state.step), list(window)
        packed = replicate(pack_state(state))
        if step < self.stage.num_steps and agree(stop.requested):
            message = f"stopped {self.meta['stage']} before step {step + 1}"
            raise Interrupted(message, stop.signal)
        batches, ahead, agreement = self.batches(step), None, Agreement()
        while step < self.stage.num_steps:
            batch = split_over_devices(next(batches))
            packed, metrics = self.update(packed, batch)
            if ahead is not None:
                window.append(self._check(step, ahead))
            ahead, step = metrics, step + 1
            self.writers.advance(step)
            last, stopping = step == self.stage.num_steps, agreement(stop.requested)
            logs = step % self.stage.log_every == 0
            saves = last or stopping or step % self.stage.checkpoint_every == 0
            if logs or saves:
                window.append(self._check(step, ahead))
                ahead = None
            if logs:
                window = self._log(step, window)
            observers = self._due(step)
            if saves or observers:
                state = unpack_state(fetch(packed))
                self._observe(step, state, observers)
            if saves:
                self._save(state, window)
            if stopping and not last:
                message = f"saved {self.meta['stage']} at step {step}"
                raise Interrupted(message, stop.signal)
        return state

    def _check(self, step: int, metrics: dict[str, Any]) -> dict[str, float]:
        checked = {k: float(v) for k, v in jax.device_get(metrics).items()}
        self.health.look(step, checked)
        return checked

    def _log(self, step: int, window: list[dict[str, float]]) -> list[Any]:
        self.writers.scalars(step, _means(window))
        self.writers.rate(step)
        return []

    def _due(self, step: int) -> list[Observer]:
        last = step == self.stage.num_steps
        return [o for o in self.observers if last or step % o.every == 0]

    def _observe(
        self, step: int, state: TrainState, observers: Sequence[Observer]
    ) -> None:
        for observer in observers:
            seen = observer.observe(state)
            self.writers.scalars(step, seen.scalars)
            if self.best is not None:
                self.best.look(state, seen.scalars)
            for name, picture in seen.pictures.items():
                self.writers.picture(step, name, picture)

    def _save(self, state: TrainState, window: list[dict[str, float]]) -> None:
        meta = {
            **self.meta,
            "window": window,
            "records": self.writers.num_records,
            "healthy": self.health.healthy,
            "health": dataclasses.asdict(self.health),
        }
        self.checkpoints.save(state, meta)


def _means(window: list[dict[str, float]]) -> dict[str, float]:
    """Means over the steps that were not skipped; ``skipped`` over all."""
    taken = [m for m in window if not m["skipped"]] or window
    names = [name for name in taken[0] if not name.startswith(SPOILED)]
    means = {k: float(np.mean([m[k] for m in taken])) for k in names}
    return means | {"skipped": float(np.mean([m["skipped"] for m in window]))}

"""What protects a run: signals that ask it to stop, numbers that are not finite."""

import contextlib
import dataclasses
import math
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lsgm.typing import Array, Bool

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MAX_SKIPPED = 10


class NonFiniteError(FloatingPointError):
    """Training produced nothing but non-finite numbers for too long."""


@dataclasses.dataclass
class StopRequest:
    """Set when the run is asked to stop; it stops after the step at hand."""

    requested: bool = False


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request; a second one ends the process
    at once, with status 128 + its number. Checkpoints bear that at any moment.

    Signals are read by a thread: Python's own handlers would wait for minutes while
    the main thread is inside a compilation.
    """
    stop = StopRequest()
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    thread = threading.Thread(target=_listen, args=(read_end, stop), daemon=True)
    thread.start()
    before = {number: signal.signal(number, _ignore) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(write_end)
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(write_end)
        thread.join()
        os.close(read_end)


def _ignore(*_: Any) -> None:
    """Python's side of a signal whose number has gone to the thread."""


def _listen(read_end: int, stop: StopRequest) -> None:
    while numbers := os.read(read_end, 1):
        if numbers[0] not in SIGNALS:
            continue
        if stop.requested:
            os._exit(128 + numbers[0])
        stop.requested = True
        message = "stopping after this step and saving; once more to stop at once"
        print(f"\n{message}", flush=True)


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether every number in a tree of arrays is finite."""
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.array(leaves, bool))


@dataclasses.dataclass
class SkipWatch:
    """Stops a run whose updates are all skipped, ``limit`` in a row."""

    limit: int = MAX_SKIPPED
    _run: int = 0
    _began: str = ""

    def look(self, step: int, window: Sequence[dict[str, float]]) -> None:
        """Count on through the metrics of the steps up to ``step``.

        Raises:
          NonFiniteError: names the first step of the run of skipped ones, and the
            terms that are not finite there.
        """
        for i, metrics in enumerate(window, start=step - len(window) + 1):
            if not metrics["skipped"]:
                self._run = 0
                continue
            if not self._run:
                self._began = f"since step {i}, where {_not_finite(metrics)}"
            self._run += 1
            if self._run == self.limit:
                raise NonFiniteError(
                    f"{self.limit} updates in a row had numbers that are not finite, "
                    f"{self._began}. Parameters are as they were before that step. "
                    "Lower the learning rate, clip gradients "
                    "(optimizers.<group>.clip_norm), or raise regularization, and "
                    "start in a new workdir."
                )


def _not_finite(metrics: dict[str, float]) -> str:
    bad = [f"{k} = {v}" for k, v in sorted(metrics.items()) if not math.isfinite(v)]
    return ", ".join(bad) or "single gradients were not finite"

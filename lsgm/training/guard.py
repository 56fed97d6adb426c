"""What protects a run: signals that ask it to stop, numbers that make no sense."""

import contextlib
import dataclasses
import math
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lsgm.typing import Array, Bool

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MAX_SKIPPED = 10
ANNOUNCE_SECONDS = 0.5
_END = b"\0"  # No signal has this number.
# Metrics: the negative bound of a step in nats per example, that of held-out examples,
# and whether a group's new parameters were at fault.
BOUND, HELD_OUT, SPOILED = "nelbo", "held_out/nelbo", "spoiled_"


class DivergedError(FloatingPointError):
    """Training has gone astray: ``streak`` suspicious steps in a row.

    Attributes:
      began: the first of these steps.
    """

    def __init__(self, streak: int, began: int, reason: str):
        self.began = began
        super().__init__(
            f"{streak} updates in a row had numbers that are not finite, or a bound "
            f"far above its start, since step {began}, where {reason}."
        )

    def explain(self, text: str) -> None:
        """Add a sentence to the message."""
        self.args = (f"{self} {text}",)


class Interrupted(Exception):
    """The run was asked to stop, and what it had done is saved.

    Attributes:
      signal: number of the signal that asked.
    """

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.signal = number


@dataclasses.dataclass
class StopRequest:
    """Set when the run is asked to stop; it stops after the step at hand.

    Attributes:
      signal: number of the signal that asked.
    """

    requested: bool = False
    signal: int = signal.SIGTERM


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
        # A process that was forked meanwhile may hold the pipe open: no end of file.
        os.write(write_end, _END)
        thread.join()
        os.close(write_end)
        os.close(read_end)


def _ignore(*_: Any) -> None:
    """Python's side of a signal whose number has gone to the thread."""


def _listen(read_end: int, stop: StopRequest) -> None:
    while (numbers := os.read(read_end, 1)) != _END:
        if numbers[0] not in SIGNALS:
            continue
        if stop.requested:
            os._exit(128 + numbers[0])
        # Output that nobody reads must hold back neither this request nor the next.
        announcing = threading.Thread(target=_announce, daemon=True)
        announcing.start()
        announcing.join(ANNOUNCE_SECONDS)
        stop.signal, stop.requested = numbers[0], True


def _announce() -> None:
    message = "stopping after this step and saving; once more to stop at once"
    with contextlib.suppress(OSError, ValueError):
        print(f"\n{message}", flush=True)


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether every number in a tree of arrays is finite."""
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.array(leaves, bool))


def all_below(tree: Any, limit: float) -> Bool[Array, ""]:
    """Whether every number in a tree of arrays is of size ``limit`` at most, which
    what is not finite never is."""
    leaves = [jnp.all(jnp.abs(leaf) <= limit) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.array(leaves, bool))


@dataclasses.dataclass
class HealthWatch:
    """Looks at the metrics of every step; stops a run that has gone astray.

    A step is suspicious if its update was skipped, or if its bound is above
    ``max_jump`` times that of the first step. One heavy-tailed loss is no divergence,
    so only ``limit`` suspicious steps in a row are an error.

    Attributes:
      first: the first step's bound in nats, at least 1; None before it is known.
      streak: suspicious steps in a row up to now; began: the first of them;
      reason: what was wrong there.
    """

    limit: int = MAX_SKIPPED
    max_jump: float = math.inf
    first: float | None = None
    streak: int = 0
    began: int = 0
    reason: str = ""

    @property
    def healthy(self) -> bool:
        """Whether the last step was not suspicious."""
        return not self.streak

    def look(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take in the metrics of a step.

        Raises:
          DivergedError: ``limit`` steps in a row were suspicious.
        """
        reason = self._find_fault(metrics)
        if reason is None:
            self.streak = 0
            return
        if not self.streak:
            self.began, self.reason = step, reason
        self.streak += 1
        if self.streak >= self.limit:
            raise DivergedError(self.streak, self.began, self.reason)

    def _find_fault(self, metrics: Mapping[str, float]) -> str | None:
        if metrics["skipped"]:
            return _not_finite(metrics)
        bound = metrics.get(BOUND)
        if bound is None:
            return None
        if self.first is None:
            self.first = max(abs(bound), 1.0)
        if bound > self.max_jump * self.first:
            return f"{BOUND} = {bound:.4g}, and {self.first:.4g} at the start"
        return None


def _not_finite(metrics: Mapping[str, float]) -> str:
    bad = [f"{k} = {v}" for k, v in sorted(metrics.items()) if not math.isfinite(v)]
    bad += [
        f"new parameters of {name.removeprefix(SPOILED)} were not finite"
        for name, value in sorted(metrics.items())
        if name.startswith(SPOILED) and value
    ]
    return ", ".join(bad) or "single gradients were not finite"


def judge_outcome(
    records: Sequence[Mapping[str, Any]], uniform: float | None
) -> list[str]:
    """What is wrong with a stage's result, a sentence each; nothing for most.

    Args:
      records: of the stage, from its start to its end.
      uniform: nats per example of a decoder that gives all levels the same
        probability; None where there is no such decoder.
    """
    bounds = [record[BOUND] for record in records if BOUND in record]
    held_out = [record[HELD_OUT] for record in records if HELD_OUT in record]
    found = []
    # Not ``last > first``: a NaN has to be told too.
    if len(bounds) > 1 and not bounds[-1] <= bounds[0]:
        found.append(
            f"the training bound ended at {bounds[-1]:.4g} nats, worse than "
            f"{bounds[0]:.4g} at the start"
        )
    last = (held_out or bounds)[-1:]
    if uniform is not None and last and not last[0] <= uniform:
        found.append(
            f"the bound ended at {last[0]:.4g} nats, worse than the {uniform:.4g} of "
            "a decoder that gives all levels the same probability"
        )
    return found

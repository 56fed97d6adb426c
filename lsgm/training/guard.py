"""What protects a run: signals that ask it to stop, numbers that are not finite."""

import contextlib
import dataclasses
import math
import signal
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp

from lsgm.typing import Array, Bool

MAX_SKIPPED = 100


class NonFiniteError(FloatingPointError):
    """Training produced nothing but non-finite numbers for too long."""


@dataclasses.dataclass
class StopRequest:
    """Set when the run is asked to stop; it stops after the step at hand."""

    requested: bool = False


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request; a second one ends at once."""
    stop = StopRequest()
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.requested:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)
        stop.requested = True
        print(
            "\nstopping after this step and saving; once more to stop at once",
            flush=True,
        )

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether every number in a tree of arrays is finite."""
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(leaves))


def check_skipped(
    step: int, window: Sequence[dict[str, float]], limit: int = MAX_SKIPPED
) -> None:
    """Stop a run whose last ``limit`` updates were all skipped.

    Args:
      window: metrics of consecutive steps, the last one of step ``step``.

    Raises:
      NonFiniteError: names the step at which it began and the terms that are not
        finite there. The last checkpoint holds the state before it.
    """
    run = 0
    for metrics in reversed(window):
        if not metrics["skipped"]:
            break
        run += 1
    if run < min(limit, len(window)) or not run:
        return
    first = window[-run]
    bad = sorted(k for k, v in first.items() if not math.isfinite(v))
    raise NonFiniteError(
        f"no finite update in the {run} steps before step {step}; not finite at the "
        f"first of them: {', '.join(bad)}. Parameters are as they were before. Lower "
        "the learning rate, clip gradients (optimizers.<group>.clip_norm), or raise "
        "regularization, and start in a new workdir."
    )

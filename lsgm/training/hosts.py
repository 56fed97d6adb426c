"""Processes on several hosts that are one run: they stop together, and end when one
of them dies.

Each process holds a lock of its own in the workdir, which has to be on a disk that all
hosts see. A lock whose process died stays as a file that nobody holds: by it the others
see who is gone, while JAX would let them wait in the next collective. A host that
hangs holds its lock; JAX's heartbeats find it (``join``).
"""

import contextlib
import os
import pathlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from lsgm.locks import find_abandoned, lock_file
from lsgm.training.guard import Interrupted
from lsgm.training.parallel import any_process

# Status of a process whose run lost another one: "try again" in sysexits.h.
LOST_PEER = 75
POLL_SECONDS = 2.0


class JoinError(RuntimeError):
    """The processes of a run did not find each other."""


def join(
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    seconds: int,
) -> None:
    """Join the other processes of the run.

    Args:
      coordinator: host:port where process 0 listens; None, with the next two, where
        the cluster's scheduler says it all.
      seconds: after which a process that does not come, or has hung, ends all.

    Raises:
      JoinError: a process did not come, or there is no scheduler that JAX knows.
    """
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=seconds,
            heartbeat_timeout_seconds=seconds,
            shutdown_timeout_seconds=seconds,
        )
    except (RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise JoinError(
            f"the processes of this run did not find each other: {first} Start as many "
            "as there should be, or give --coordinator, --num_processes, --process_id."
        ) from error


@contextlib.contextmanager
def hold(path: pathlib.Path) -> Iterator[None]:
    """Hold this process's lock for the block: ``path`` in the first process, numbered
    in the others. While it lasts, the death of another one ends this process with
    status ``LOST_PEER`` and a line that names it.

    Raises:
      lsgm.locks.InUseError: another run's process holds it.
    """
    paths = [_own(path, index) for index in range(jax.process_count())]
    own, stopped = paths.pop(jax.process_index()), None
    with lock_file(own, left_on_error=bool(paths)):
        try:
            with _watch(paths) if paths else contextlib.nullcontext():
                yield
        except Interrupted as error:  # Nobody's failure.
            stopped = error
    if stopped is not None:
        raise stopped


def _own(path: pathlib.Path, index: int) -> pathlib.Path:
    return path.with_name(f"{path.name}.{index}") if index else path


@contextlib.contextmanager
def _watch(paths: Sequence[pathlib.Path]) -> Iterator[None]:
    # Before all hold their locks, those of a run that died lie there.
    multihost_utils.sync_global_devices("locks")
    done, lost = threading.Event(), threading.Event()
    thread = threading.Thread(target=_look, args=(paths, done, lost), daemon=True)
    thread.start()
    try:
        yield
    except Interrupted:
        raise
    except Exception:
        # A collective that lost a peer fails in words of its own. The thread says who
        # it was, and ends the process.
        if lost.wait(4 * POLL_SECONDS):
            thread.join()
        raise
    finally:
        done.set()


def _look(
    paths: Sequence[pathlib.Path], done: threading.Event, lost: threading.Event
) -> None:
    before: set[str] = set()
    while not done.wait(POLL_SECONDS):
        now = set(filter(None, map(find_abandoned, paths)))
        # Twice: all processes that meet one error end one after the other.
        if gone := sorted(now & before):
            lost.set()
            say_and_leave(
                f"error: {'; '.join(gone)} has ended, and the run cannot go on without "
                "it. Its own output says why. The last checkpoint is intact: start all "
                "processes again with the same command.",
                LOST_PEER,
            )
        before = now


def say_and_leave(message: str, status: int) -> None:
    """End this process with a line on stderr, without waiting for the others as JAX
    does at a process's end.

    The first process goes last: JAX ends the others, without a word of ours, when it
    is gone.
    """
    with contextlib.suppress(OSError, ValueError):
        print(message, file=sys.stderr, flush=True)
        sys.stdout.flush()
    if jax.distributed.is_initialized() and jax.process_index() == 0:
        time.sleep(4 * POLL_SECONDS)
    os._exit(status)


def agree(flag: bool) -> bool:
    """Whether ``flag`` is set in any process; each has to ask."""
    return flag if jax.process_count() == 1 else _is_set(any_process(flag))


class Agreement:
    """``agree`` for every step of a loop: the answer is that to the step before, so
    that nobody waits for it. Of a single process it is that to this step."""

    def __init__(self) -> None:
        self._ahead: jax.Array | None = None

    def __call__(self, flag: bool) -> bool:
        """Whether it was set in any process; each has to ask at the same steps."""
        if jax.process_count() == 1:
            return flag
        ahead, self._ahead = self._ahead, any_process(flag)
        return ahead is not None and _is_set(ahead)


def _is_set(count: jax.Array) -> bool:
    return bool(np.asarray(count).any())

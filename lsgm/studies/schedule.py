"""Jobs in the order of their needs, a few at a time, to the end whatever fails."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from lsgm.studies.jobs import Job
from lsgm.studies.work import work

POLL_SECONDS = 0.5


@runtime_checkable
class Handle(Protocol):
    """A call that was submitted: a future, or a job of submitit."""

    def done(self) -> bool: ...

    def exception(self) -> BaseException | None: ...


@runtime_checkable
class Executor(Protocol):
    """Where jobs run: ``lsgm.studies.executors``, or an executor of submitit."""

    def submit(self, call: Callable[..., Any], /, *args: Any) -> Any: ...


@dataclasses.dataclass(kw_only=True)
class Progress:
    """Names of jobs by their state; all in one place.

    Attributes:
      seconds: since the start; left: what the rest takes at the pace so far, None
        before the first job is done.
    """

    there: list[str]
    done: list[str]
    failed: dict[str, str]
    running: list[str]
    waiting: list[str]
    seconds: float = 0.0

    @property
    def left(self) -> float | None:
        ended = len(self.done) + len(self.failed)
        if not ended:
            return None
        # Half of each running one is left, on the average.
        return self.seconds / ended * (len(self.running) / 2 + len(self.waiting))

    def line(self) -> str:
        """What is shown of it."""
        left = "" if self.left is None else f", about {clock(self.left)} left"
        running = f" ({', '.join(self.running)})" if self.running else ""
        return (
            f"[{clock(self.seconds)}{left}] {len(self.there) + len(self.done)} done, "
            f"{len(self.running)} running{running}, {len(self.waiting)} waiting, "
            f"{len(self.failed)} failed"
        )


def clock(seconds: float) -> str:
    """Hours, minutes and seconds as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def run(
    jobs: Sequence[Job],
    executor: Executor,
    *,
    at_once: int,
    is_finished: Callable[[Job], bool],
    tell: Callable[[Progress], None],
) -> Progress:
    """Submit each job when what it needs is done; returns when none is left.

    Args:
      at_once: jobs that the executor holds at the same time.
      is_finished: whether a job was done before; it is not submitted then.
      tell: receives the progress at every change.

    Returns:
      The last progress: names of failed jobs with the reason, those too that could
      not start because another failed.
    """
    there = [job.name for job in jobs if is_finished(job)]
    progress = Progress(there=there, done=[], failed={}, running=[], waiting=[])
    waiting = [job for job in jobs if job.name not in there]
    handles: dict[str, Handle] = {}
    start, shown = time.monotonic(), None
    while waiting or handles:
        for name in [name for name, handle in handles.items() if handle.done()]:
            error = handles.pop(name).exception()
            if error is None:
                progress.done.append(name)
            else:
                progress.failed[name] = str(error)
        waiting, ready = _sorted_out(waiting, progress)
        for job in ready[: at_once - len(handles)]:
            handles[job.name] = executor.submit(work, job)
            waiting.remove(job)
        progress.running = list(handles)
        progress.waiting = [job.name for job in waiting]
        progress.seconds = time.monotonic() - start
        state = (len(progress.done), len(progress.failed), len(handles))
        if state != shown:
            tell(progress)
        shown = state
        if handles:
            time.sleep(POLL_SECONDS)
    if shown is None:
        tell(progress)
    return progress


def _sorted_out(
    waiting: Sequence[Job], progress: Progress
) -> tuple[list[Job], list[Job]]:
    """Jobs that still wait, and those of them that could run; what needs a failed one
    has failed too."""
    left, ready = [], []
    for job in waiting:
        if job.needs in progress.failed:
            progress.failed[job.name] = f"needs {job.needs}, which failed"
            continue
        left.append(job)
        if job.needs is None or job.needs in (*progress.there, *progress.done):
            ready.append(job)
    return left, ready

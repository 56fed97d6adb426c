"""Order, limits, failures, and going on."""

import concurrent.futures
import pathlib

import pytest

from lsgm.studies import schedule
from lsgm.studies.jobs import Job


class Immediate:
    """Runs each job at once, in the caller; keeps count."""

    def __init__(self, broken: tuple[str, ...] = ()):
        self.names: list[str] = []
        self.broken = broken

    def submit(self, call, job):
        self.names.append(job.name)
        future = concurrent.futures.Future()
        if job.name in self.broken:
            future.set_exception(RuntimeError(f"{job.name} broke"))
        else:
            future.set_result(None)
        return future


class Held(Immediate):
    """Ends the oldest job when asked a second time; counts how many it holds."""

    most = 0

    def __init__(self):
        super().__init__()
        self.held: list = []

    def submit(self, call, job):
        self.names.append(job.name)
        future = concurrent.futures.Future()
        self.held.append(future)
        self.most = max(self.most, len(self.held))
        return future

    def sleep(self, _):
        self.held.pop(0).set_result(None)


def job(name: str, needs: str | None = None) -> Job:
    return Job(name=name, folder=pathlib.Path("/x"), config={}, needs=needs)


def run(jobs, executor, at_once=2, there=()):
    return schedule.run(
        jobs,
        executor,
        at_once=at_once,
        is_finished=lambda job: job.name in there,
        tell=lambda progress: None,
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(schedule, "POLL_SECONDS", 0)


def test_each_runs_once_after_what_it_needs():
    executor = Immediate()
    jobs = [job("a"), job("b", "a"), job("c"), job("d", "b")]
    progress = run(jobs, executor)
    assert sorted(executor.names) == ["a", "b", "c", "d"]
    assert executor.names.index("a") < executor.names.index("b")
    assert executor.names.index("b") < executor.names.index("d")
    assert sorted(progress.done) == ["a", "b", "c", "d"] and not progress.failed


def test_no_more_at_once_than_asked(monkeypatch):
    executor = Held()
    monkeypatch.setattr(schedule.time, "sleep", executor.sleep)
    run([job(name) for name in "abcde"], executor, at_once=2)
    assert executor.names == list("abcde") and executor.most == 2


def test_a_failure_stops_only_what_needs_it():
    executor = Immediate(broken=("a",))
    progress = run([job("a"), job("b", "a"), job("c"), job("d", "b")], executor)
    assert executor.names == ["a", "c"]
    assert progress.failed["a"] == "a broke"
    assert "needs a, which failed" in progress.failed["b"]
    assert set(progress.failed) == {"a", "b", "d"} and progress.done == ["c"]


def test_what_is_there_is_not_done_again():
    executor = Immediate()
    progress = run([job("a"), job("b", "a"), job("c")], executor, there=("a", "c"))
    assert executor.names == ["b"]
    assert "3 done, 0 running, 0 waiting, 0 failed" in progress.line()


def test_where_nothing_is_left_that_is_told():
    told = []
    schedule.run(
        [job("a")],
        Immediate(),
        at_once=1,
        is_finished=lambda job: True,
        tell=lambda progress: told.append(progress.line()),
    )
    assert told == ["[0:00:00] 1 done, 0 running, 0 waiting, 0 failed"]


def test_the_rest_is_estimated_from_the_pace():
    progress = schedule.Progress(
        there=["x"],
        done=["a", "b"],
        failed={},
        running=["c", "d"],
        waiting=["e"],
        seconds=60.0,
    )
    assert progress.left == 60.0  # 30 s each, two of them half done
    assert progress.line().startswith("[0:01:00, about 0:01:00 left] 3 done")

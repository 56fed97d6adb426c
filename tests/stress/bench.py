"""What the scenarios share: commands that are killed, and what their runs come to."""

import contextlib
import dataclasses
import hashlib
import itertools
import os
import pathlib
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lsgm.training.checkpoints import list_steps, read
from tests import commands

# More steps than the tiny run has, and a save after every few of them.
STAGES = {
    "num_steps": 20,
    "checkpoint_every": 5,
    "log_every": 5,
    "sample_every": 10,
    "eval_every": 10,
}
LONGER = [
    f"--config.stages.{s}.{k}={v}" for s in ("vae", "lsgm") for k, v in STAGES.items()
]
FIELDS = ("params", "ema", "opt", "mutables", "key", "step")
# Seconds and rates differ from run to run.
TIMES = ("seconds", "timing", "machine", "rate")


class Lost(AssertionError):
    """A fault that a run did not survive."""


@dataclasses.dataclass
class Bench:
    """Where a scenario works.

    Attributes:
      folder: for its files; whole: the undisturbed training.
    """

    rng: np.random.Generator
    folder: pathlib.Path
    whole: pathlib.Path
    seconds: float

    @property
    def log(self) -> pathlib.Path:
        return self.folder / "log.txt"

    def fresh(self) -> pathlib.Path:
        """An empty folder."""
        return pathlib.Path(tempfile.mkdtemp(dir=self.folder))


def train_words(workdir: pathlib.Path, *more: str) -> list[str]:
    return ["experiments.train", commands.TINY, f"--workdir={workdir}", *LONGER, *more]


def kill_at_random(
    bench: Bench, words: Sequence[str], most: int, seconds: float
) -> int:
    """Kill a command up to ``most`` times in a row at moments of its first
    ``seconds``, until one comes too late; how often it was."""

    def kill(moment: float) -> bool:
        return kill_once(bench, words, lambda passed: passed > moment)

    moments = bench.rng.uniform(0, seconds, bench.rng.integers(1, most + 1))
    return len(list(itertools.takewhile(bool, map(kill, moments))))


def measure(bench: Bench, words: Sequence[str], name: str) -> float:
    """How long an undisturbed command takes, which is run the first time alone."""
    path = bench.folder / f"{name} seconds"
    if not path.exists():
        start = time.monotonic()
        finish(bench, words)
        path.write_text(str(time.monotonic() - start))
    return float(path.read_text())


def kill_once(
    bench: Bench, words: Sequence[str], when: Callable[[float], bool]
) -> bool:
    """Start a command, and kill it as soon as ``when(seconds since its start)``;
    False if it ended before."""
    process, start = commands.start(words, bench.log), time.monotonic()
    assert process.pid is not None
    while process.is_alive():
        if when(time.monotonic() - start):
            for pid in (*descendants(process.pid), process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.join()
            return process.exitcode == -signal.SIGKILL
        time.sleep(0.005)
    require(process.exitcode == 0, f"status {process.exitcode}", bench)
    return False


def descendants(pid: int) -> Iterator[int]:
    """Processes that a process has started, and that those have."""
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            for child in map(int, (task / "children").read_text().split()):
                yield from descendants(child)
                yield child


def finish(bench: Bench, words: Sequence[str]) -> None:
    """Give a command without a fault."""
    status = commands.finish(commands.start(words, bench.log))
    require(status == 0, f"ended with status {status}", bench)


def require(right: Any, what: str, bench: Bench) -> None:
    if not right:
        raise Lost(f"{what}; {bench.log}")


def digest(workdir: pathlib.Path) -> dict[str, str]:
    """What a training comes to: arrays of its last checkpoints, and its records."""
    found = {}
    for stage in ("vae", "lsgm"):
        folder = workdir / stage / "checkpoints"
        step = list_steps(folder)[-1]
        fields = FIELDS if stage == "lsgm" else tuple(f for f in FIELDS if f != "ema")
        hashed = hashlib.sha256(str(step).encode())
        for name, array in sorted(flat(read(folder / str(step), fields)).items()):
            hashed.update(name.encode() + np.ascontiguousarray(array).tobytes())
        found[stage] = hashed.hexdigest()
        found[f"{stage} records"] = (workdir / stage / "metrics.jsonl").read_text()
    return found


def flat(tree: object, prefix: str = "") -> dict[str, np.ndarray]:
    """Arrays by their paths; states without any are left out."""
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list | tuple):
        items = enumerate(tree)
    else:
        return {} if tree is None else {prefix: np.asarray(tree)}
    return {k: v for n, t in items for k, v in flat(t, f"{prefix}/{n}").items()}


def same_training(bench: Bench, workdir: pathlib.Path) -> None:
    ours, theirs = digest(workdir), digest(bench.whole)
    differing = [name for name in theirs if ours[name] != theirs[name]]
    require(not differing, f"{workdir}: other {', '.join(differing)}", bench)


def without_times(tree: object) -> object:
    if isinstance(tree, dict):
        kept = {k: v for k, v in tree.items() if not any(t in k for t in TIMES)}
        return {k: without_times(v) for k, v in kept.items()}
    return tree

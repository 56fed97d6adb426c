"""A job as processes: train, then evaluate, with the output in the job's log.

Each works on its folder alone, under a lock that its processes hold as long as they
live. A study that was killed and started again waits for what it left running, and
goes on from there.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from lsgm.evaluation import provenance
from lsgm.studies.jobs import Job
from lsgm.studies.taking import take
from lsgm.training.checkpoints import BEST, NEWEST, list_steps
from lsgm.trust import packages_of

LOG, LOCK, CONFIG, METRICS = "log.txt", "lock", "config.json", "metrics.json"
TAIL = 20


class JobError(RuntimeError):
    """A process of a job failed; the end of its log is in the message."""


def finished(job: Job) -> bool:
    """Whether nothing is left to do: stages trained to their end; and where the
    outcome is an evaluation, one of this config by the code as it is."""
    stage = job.config["stages"][job.last]
    newest, best = (
        list_steps(job.folder / job.last / kind)[-1:] for kind in (NEWEST, BEST)
    )
    judged = stage["num_steps"]
    trained = newest == [judged]
    if not job.evaluates:
        return trained
    if stage.get("keep_best"):
        if not trained:
            return False  # a better state may come
        # Samples that were never finite leave none, and the newest is judged.
        judged = (best or newest)[0]
    path = job.folder / METRICS
    if not path.exists():
        return False
    try:
        card = dict(json.loads(path.read_text())["card"])
    except (ValueError, KeyError, TypeError):
        return False  # cut short by a kill, or damaged
    text = json.dumps(resolved(job.config), sort_keys=True)
    expected = {
        "stage": job.last,
        "step": judged,
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "code_sha256": provenance.code_sha256(),
    }
    return all(card.get(name) == value for name, value in expected.items())


def resolved(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as it is stored and read again."""
    return json.loads(json.dumps(config))


def work(job: Job, environment: Mapping[str, str] = {}) -> None:
    """Do what is left of a job.

    Args:
      environment: variables for its processes, besides those of this one.

    Raises:
      JobError: one of its processes failed.
    """
    # Processes find what this one finds, whatever folder it runs in.
    path = os.pathsep.join(filter(None, (str(root()), os.environ.get("PYTHONPATH"))))
    variables = {**os.environ, "PYTHONPATH": path, **environment}
    with (job.folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if finished(job):
            return
        for stage in job.taken:
            assert job.source is not None
            take(stage, job.source, job.folder, resolved(job.config))
        with (job.folder / LOG).open("a") as log:
            for command in commands(job):
                _run(command, log, variables, lock)


def commands(job: Job) -> Iterator[list[str]]:
    """What has to be run, in order.

    The processes read the study's own config from where it was stored, so they trust
    the packages that it names.
    """
    trust = [f"--trust={package}" for package in packages_of(job.config)]
    if len(job.taken) < len(job.config["stage_order"]):
        config = f"--config={root() / RESOLVED}:{job.folder / CONFIG}"
        yield ["experiments.train", config, f"--workdir={job.folder}", *trust]
    if job.evaluates:
        yield ["experiments.evaluate", f"--checkpoint={job.folder}", *trust]


# A config file that reads a resolved config.
RESOLVED = pathlib.Path("configs", "resolved.py")


def root() -> pathlib.Path:
    """The folder that holds ``experiments`` and ``configs``, whichever folder the
    study was started from.

    Raises:
      JobError: Python does not find ``experiments``.
    """
    spec = importlib.util.find_spec("experiments")
    if spec is None or spec.origin is None:
        raise JobError("no package experiments: put its folder on PYTHONPATH")
    return pathlib.Path(spec.origin).resolve().parents[1]


def _run(
    words: Sequence[str], log: IO[str], variables: Mapping[str, str], lock: IO[str]
) -> None:
    line = [sys.executable, "-m", *words]
    print("$", *line, file=log, flush=True)
    done = subprocess.run(
        line,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=dict(variables),
        # A process that outlives this one keeps the folder locked.
        pass_fds=(lock.fileno(),),
    )
    if done.returncode:
        raise JobError(f"{words[0]} ended with status {done.returncode}")


def tail(job: Job) -> str:
    """The end of a job's log."""
    path = job.folder / LOG
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-TAIL:])

"""Commands in processes of their own that do not pay for the imports.

A server imports the package once and forks for each command, which then runs as
``python -m experiments.<name>`` would: with its own flags, output and exit status.
The suite's strict settings do not reach it; a user's commands have none either.
"""

import multiprocessing
import os
import pathlib
import runpy
import sys
from collections.abc import Mapping, Sequence

ROOT = pathlib.Path(__file__).parents[1]
SECONDS = 900
TINY = "--config=tests/tiny_run.py"

_SERVER = multiprocessing.get_context("forkserver")
# Imports of these and of all that they import start neither threads nor devices.
_SERVER.set_forkserver_preload(
    ["lsgm.benchmarks.samplers", "lsgm.planning.tables", "lsgm.runs.exchange"]
)


def start(
    words: Sequence[str],
    log: pathlib.Path,
    environment: Mapping[str, str] | None = None,
) -> multiprocessing.Process:
    """``python -m words...`` from the repository's root, in a process that runs.

    Args:
      words: a module, ``experiments.train``, and its flags.
      log: file to which the output is appended.
      environment: variables besides those of this process. JAX has read its own
        by then; those of XLA count.
    """
    process = _SERVER.Process(target=_become, args=([*words], log, environment or {}))
    process.start()
    return process


def finish(process: multiprocessing.Process) -> int:
    """Its exit status; a process that takes far too long is killed."""
    process.join(SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def run(words: Sequence[str], log: pathlib.Path, **environment: str) -> str:
    """What a command prints; fails where its exit status is not 0."""
    status = finish(start(words, log, environment))
    assert status == 0, log.read_text()
    return log.read_text()


def _become(
    words: list[str], log: pathlib.Path, environment: Mapping[str, str]
) -> None:
    with log.open("a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    # pytest's capture leaves no file behind these.
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1) for n in (1, 2))
    os.chdir(ROOT)
    os.environ.update(environment)
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)

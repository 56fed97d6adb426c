"""Where the jobs of a study run: threads of this machine, or Slurm.

Both have ``submit(call, *args)``, which returns something with ``done()`` and
``exception()``: ``lsgm.studies.schedule`` needs no more, and the jobs are the same.
"""

import concurrent.futures
import os
import pathlib
import queue
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lsgm.config import ConfigError
from lsgm.optional import MissingExtra, require

VISIBLE = "CUDA_VISIBLE_DEVICES"


class Local:
    """So many jobs at once, each on its share of the cores and of the devices that
    ``CUDA_VISIBLE_DEVICES`` lists. Processes inherit the cores of the thread that
    starts them."""

    def __init__(self, jobs: int):
        """Divide the machine.

        Raises:
          ConfigError: fewer cores or devices than jobs.
        """
        self._shares: queue.SimpleQueue[Share] = queue.SimpleQueue()
        for share in shares(jobs, sorted(os.sched_getaffinity(0)), os.environ):
            self._shares.put(share)
        self._pool = concurrent.futures.ThreadPoolExecutor(jobs)

    def submit(self, call: Callable[..., Any], /, *args: Any) -> Any:
        """Call with these arguments and the variables of a share."""
        return self._pool.submit(self._on_a_share, call, args)

    def _on_a_share(self, call: Callable[..., Any], args: Sequence[Any]) -> Any:
        cores, variables = share = self._shares.get()
        try:
            os.sched_setaffinity(0, cores)  # of this thread
            return call(*args, variables)
        finally:
            self._shares.put(share)


Share = tuple[frozenset[int], dict[str, str]]


def shares(
    jobs: int, cores: Sequence[int], environment: Mapping[str, str]
) -> list[Share]:
    """Cores and variables of each of ``jobs`` equal shares.

    Raises:
      ConfigError: fewer cores or devices than jobs.
    """
    if not 1 <= jobs <= len(cores):
        raise ConfigError("jobs", jobs, f"from 1 to {len(cores)}, the cores here")
    devices = [d for d in environment.get(VISIBLE, "").split(",") if d]
    if devices and len(devices) < jobs:
        raise ConfigError(
            "jobs", jobs, f"there are {len(devices)} devices in {VISIBLE}"
        )
    return [
        (
            frozenset(_part(cores, i, jobs)),
            {VISIBLE: ",".join(_part(devices, i, jobs))} if devices else {},
        )
        for i in range(jobs)
    ]


def _part(items: Sequence[Any], i: int, num: int) -> Sequence[Any]:
    return items[i * len(items) // num : (i + 1) * len(items) // num]


def parameters(words: Sequence[str]) -> dict[str, int | str]:
    """Of ``name=value`` each, whole numbers as such.

    Raises:
      ConfigError: a word is not of that form.
    """
    found: dict[str, int | str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise ConfigError("slurm", word, "expected name=value")
        found[name] = int(value) if value.isdigit() else value
    return found


def slurm(folder: pathlib.Path, parameters: Mapping[str, Any]) -> Any:
    """An executor of submitit; ``submit`` queues a job in Slurm.

    Args:
      folder: for submitit's logs.
      parameters: of ``submitit.AutoExecutor.update_parameters``.

    Raises:
      ConfigError: submitit is not installed.
    """
    try:
        submitit = require("submitit", "slurm", "the executor")
    except MissingExtra as error:
        raise ConfigError("executor", "slurm", str(error)) from error
    executor = submitit.AutoExecutor(folder=folder)
    executor.update_parameters(**parameters)
    return executor

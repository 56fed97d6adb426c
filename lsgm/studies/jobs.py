"""From the runs of a study to jobs: what is trained once, and what waits for it.

Parameters after stage k are a function of data, VAE, seed, and the stages up to k; of
a stage's sampler and of the evaluation's settings they are not, those only say how it
is looked at. Runs that agree in all of that share those stages: one job trains them,
as an experiment that ends there, in a folder of its own; the others take them from it
(``lsgm.studies.taking``) and go on. Nothing is trained twice, and every run's folder
is what it would be had it trained alone.
"""

import collections
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from lsgm.studies.study import StudyRun

RUNS, SHARED = "runs", "shared"
SHORT = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What one process does: train what is missing in a folder, and evaluate it.

    Attributes:
      config: the resolved experiment of the folder.
      source: folder of the job whose stages are taken first; None takes none.
      taken: those stages.
      needs: name of the job that has to be done before; None waits for none.
      evaluates: whether the outcome is an evaluation.
    """

    name: str
    folder: pathlib.Path
    config: dict[str, Any]
    source: pathlib.Path | None = None
    taken: tuple[str, ...] = ()
    needs: str | None = None
    evaluates: bool = True

    @property
    def last(self) -> str:
        """The job's last stage."""
        return self.config["stage_order"][-1]


def trained(config: Mapping[str, Any], num: int) -> str:
    """Digest of all that the parameters after ``num`` stages depend on."""
    names = list(config["stage_order"][:num])
    stages = [_without_sampler(config["stages"][name]) for name in names]
    shared = [config["seed"], config["data"], config["vae"], names, stages]
    text = json.dumps(shared, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_sampler(stage: Mapping[str, Any]) -> dict[str, Any]:
    prior = {k: v for k, v in stage["prior"].items() if k != "sampler"}
    return {**stage, "prior": prior}


def of_runs(runs: Sequence[StudyRun], folder: pathlib.Path) -> list[Job]:
    """Jobs in an order in which each comes after the one that it needs.

    Args:
      folder: of the study.
    """
    users = collections.Counter(
        trained(run.config, num) for run in runs for num in _nums(run.config)
    )
    jobs: dict[str, Job] = {}
    for run in runs:
        needed = _shared(run.config, users, folder, jobs)
        jobs[run.name] = _job(run.name, folder / RUNS, run.config, needed)
    return list(jobs.values())


def _nums(config: Mapping[str, Any]) -> range:
    return range(1, len(config["stage_order"]) + 1)


def _shared(
    config: dict[str, Any],
    users: Mapping[str, int],
    folder: pathlib.Path,
    jobs: dict[str, Job],
) -> Job | None:
    """The last of the jobs that train what this config shares with others: one for
    each number of stages that more runs share than share the next."""
    last, nums = None, list(_nums(config))
    for num in nums:
        digest = trained(config, num)
        further = users[trained(config, num + 1)] if num < nums[-1] else 0
        if users[digest] < 2 or users[digest] == further:
            continue
        name = f"{config['stage_order'][num - 1]}_{digest[:SHORT]}"
        if name not in jobs:
            order = config["stage_order"][:num]
            stages = {stage: config["stages"][stage] for stage in order}
            prefix = {**config, "stage_order": order, "stages": stages}
            jobs[name] = dataclasses.replace(
                _job(name, folder / SHARED, prefix, last), evaluates=False
            )
        last = jobs[name]
    return last


def _job(
    name: str, parent: pathlib.Path, config: dict[str, Any], needed: Job | None
) -> Job:
    job = Job(name=name, folder=parent / name, config=config)
    if needed is None:
        return job
    return dataclasses.replace(
        job,
        source=needed.folder,
        taken=tuple(needed.config["stage_order"]),
        needs=needed.name,
    )

"""What a study costs before it is run.

Seeds cost the same, so one of each point is priced, and stages that points share are
priced once (``lsgm.studies.jobs``). Evaluations are not.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from lsgm.planning.plan import StageCost, stage_cost
from lsgm.studies import budget, jobs, study
from lsgm.studies.budget import Step
from lsgm.studies.study import Study


class Price(NamedTuple):
    """What a job trains.

    Attributes:
      name: of the point; of a job that several share, "shared" and its folder's.
      stages: those that it takes from another job left out; a point that takes all
        has none.
    """

    name: str
    stages: tuple[StageCost, ...]


def prices(asked: Study) -> Iterator[Price]:
    """Of all jobs of one seed, in their order, each when it is known: a step of a
    large model takes minutes to trace.

    Raises:
      ConfigError: in the study, or in the experiment of a point.
    """
    seed = asked.seeds[0]
    runs = [run for run in study.runs(asked) if run.seed == seed]
    for job in jobs.of_runs(runs, pathlib.Path()):
        stages = job.config["stages"]
        found = [
            dataclasses.replace(
                _cost(budget.step(job.config, name)),
                num_steps=stages[name]["num_steps"],
            )
            for name in job.config["stage_order"]
            if name not in job.taken
        ]
        point = job.name.removesuffix(f"_seed{seed}")
        yield Price(point if job.evaluates else f"shared {job.name}", tuple(found))


@functools.cache
def _cost(step: Step) -> StageCost:
    vae, stage, state = budget.shapes(step)
    per_image = budget.flop(step) / stage.batch_size
    return stage_cost(step.name, stage, vae, state, per_image)

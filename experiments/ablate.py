"""Run a study: every point with every seed, then a page.

    python -m experiments.ablate --config=configs/ablations/latent_resolution.py \\
        --workdir=runs/latent_resolution --jobs=2

Stages that several runs have in common are trained once. Started again on the same
workdir, a study goes on where it stopped. A run that fails stops no other: it is named
at the end with the last lines of its log, and the exit status is 1. ``--page`` writes
the page of what is there and runs nothing. See docs/ablations.md.
"""

import contextlib
import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from experiments import path_flags, shapes_only
from experiments.flag_errors import parse_flags
from lsgm.config import ConfigError
from lsgm.locks import FolderError, lock_file
from lsgm.runs import experiment
from lsgm.runs.workdir import WorkdirError, claim
from lsgm.studies import executors, jobs, page, schedule, study, summary, work
from lsgm.studies.jobs import Job
from lsgm.studies.study import Study, StudyRun
from lsgm.terminal import forgive_output

LOCK = "study.lock"
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Study file, with a variant after a colon.", lock_config=True
)
_WORKDIR = path_flags.DEFINE_folder(
    "workdir", "Folder of the study.", writes=True, required=True
)
_JOBS = flags.DEFINE_integer("jobs", 1, "Runs at once on this machine.", lower_bound=1)
_EXECUTOR = flags.DEFINE_enum("executor", "local", ["local", "slurm"], "Where to run.")
_SLURM = flags.DEFINE_multi_string(
    "slurm", [], "A parameter of submitit, name=value; may be repeated."
)
_PAGE = flags.DEFINE_bool("page", False, "Only write the page of what is there.")


def main(argv: list[str]) -> None:
    """Check everything, run what is missing, write the page."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    shapes_only.prepare()
    forgive_output()
    folder: pathlib.Path = _WORKDIR.value.absolute()
    try:
        # Writing the page disturbs nobody, so it waits for nobody.
        with contextlib.nullcontext() if _PAGE.value else lock_file(folder / LOCK):
            asked, runs, planned = prepare(_CONFIG.value, folder)
            failed = {} if _PAGE.value else run(planned, folder)
            rows = summary.rows(asked, runs, folder)
            page.write(asked, rows, failed, folder)
    except (ConfigError, FolderError, WorkdirError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\nstopped. The same command goes on from there.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    print(folder / "study.html")
    if failed:
        sys.exit(1)


def prepare(
    config: Any, folder: pathlib.Path
) -> tuple[Study, list[StudyRun], list[Job]]:
    """The study, with every run built and every folder claimed for its config.

    Raises:
      ConfigError: in the study, or in the experiment of a run.
      WorkdirError: a folder holds a run of another config.
    """
    asked = study.from_config(config)
    runs = study.runs(asked)
    for one in runs:
        if one.seed == asked.seeds[0]:
            try:
                experiment.from_config(one.config)
            except ConfigError as error:
                raise ConfigError("axes", one.point, str(error)) from error
    planned = jobs.of_runs(runs, folder)
    if not _PAGE.value:
        for job in planned:
            claim(job.folder, work.resolved(job.config))
    return asked, runs, planned


def run(planned: Sequence[Job], folder: pathlib.Path) -> dict[str, str]:
    """Do the jobs; reasons by name of those that failed."""
    slurm = _EXECUTOR.value == "slurm"
    executor = (
        executors.slurm(folder / "slurm", executors.parameters(_SLURM.value))
        if slurm
        else executors.Local(_JOBS.value)
    )
    progress = schedule.run(
        planned,
        executor,
        at_once=len(planned) if slurm else _JOBS.value,
        is_finished=work.finished,
        tell=lambda progress: print(progress.line(), flush=True),
    )
    for job in planned:
        if job.name in progress.failed:
            print(f"\nFAILED {job.name}: {progress.failed[job.name]}", file=sys.stderr)
            print(f"  {job.folder / work.LOG}\n{work.tail(job)}", file=sys.stderr)
    return progress.failed


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=parse_flags)

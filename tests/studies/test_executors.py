"""Shares of the machine, and Slurm."""

import importlib.util
import os

import pytest

from lsgm.config import ConfigError
from lsgm.studies import executors


def test_shares_are_disjoint_and_use_everything():
    found = executors.shares(3, range(8), {"CUDA_VISIBLE_DEVICES": "4,5,6,7"})
    cores, variables = zip(*found, strict=True)
    assert sorted(c for part in cores for c in part) == list(range(8))
    assert {len(part) for part in cores} == {2, 3}
    devices = [v["CUDA_VISIBLE_DEVICES"].split(",") for v in variables]
    assert sorted(d for part in devices for d in part) == ["4", "5", "6", "7"]


@pytest.mark.parametrize(
    ("jobs", "environment", "message"),
    [
        (3, {}, "from 1 to 2, the cores here"),
        (2, {"CUDA_VISIBLE_DEVICES": "0"}, "there are 1 devices"),
    ],
)
def test_more_jobs_than_there_is_room_for_are_refused(jobs, environment, message):
    with pytest.raises(ConfigError, match=message):
        executors.shares(jobs, range(2), environment)


def _cores(variables):
    return frozenset(os.sched_getaffinity(0)), variables


def test_a_job_runs_on_its_share_and_leaves_the_caller_alone():
    before = os.sched_getaffinity(0)
    share = executors.shares(1, sorted(before)[:1], {})[0]
    executor = executors.Local(1)
    executor._shares.get()
    executor._shares.put(share)
    assert executor.submit(_cores).result() == (share[0], {})
    assert os.sched_getaffinity(0) == before


def test_parameters_of_slurm_are_read():
    found = executors.parameters(["timeout_min=60", "slurm_partition=gpu"])
    assert found == {"timeout_min": 60, "slurm_partition": "gpu"}
    with pytest.raises(ConfigError, match="expected name=value"):
        executors.parameters(["gpu"])


@pytest.mark.skipif(
    importlib.util.find_spec("submitit") is not None, reason="submitit is installed"
)
def test_slurm_names_the_extra_that_is_missing(tmp_path):
    with pytest.raises(ConfigError, match=r"pip install '\.\[slurm\]'"):
        executors.slurm(tmp_path, {})


def test_submitit_runs_a_call(tmp_path):
    submitit = pytest.importorskip("submitit")
    executor = submitit.LocalExecutor(folder=tmp_path)
    executor.update_parameters(timeout_min=1)
    job = executor.submit(sorted, [2, 1])
    assert job.exception() is None and job.done()

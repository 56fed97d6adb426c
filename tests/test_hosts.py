"""A run on several hosts, which here are processes of one machine.

They are started as Slurm starts them: `--distributed` finds each other's addresses
in the variables that it sets.
"""

import random

import jax
import numpy as np
import pytest

from lsgm.training.checkpoints import read
from lsgm.training.records import read_records
from tests import commands

pytestmark = pytest.mark.multidevice
DEVICES = "--xla_force_host_platform_device_count="


def slurm(process: int, count: int, job: int) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(count),
        "SLURM_PROCID": str(process),
        "SLURM_LOCALID": str(process),
        "XLA_FLAGS": f"{DEVICES}1",
    }


def test_two_hosts_of_one_device_equal_one_host_of_two(tmp_path):
    """Both stages: same batches, same draws, same parameters, and one set of files."""
    one, two = tmp_path / "one", tmp_path / "two"
    words = ["experiments.train", commands.TINY]
    log = tmp_path / "log.txt"
    commands.run([*words, f"--workdir={one}"], log, XLA_FLAGS=f"{DEVICES}2")
    job = random.SystemRandom().randrange(10**6)
    hosts = [
        commands.start(
            [*words, f"--workdir={two}", "--distributed"], log, slurm(i, 2, job)
        )
        for i in range(2)
    ]
    assert [commands.finish(host) for host in hosts] == [0, 0], log.read_text()
    for stage in ("vae", "lsgm"):
        here, there = (
            read(run / stage / "checkpoints" / "4", ("params", "ema", "mutables"))
            for run in (two, one)
        )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            here,
            there,
        )
        records = [read_records(run / stage / "metrics.jsonl") for run in (two, one)]
        assert [r["step"] for r in records[0]] == [r["step"] for r in records[1]]
        assert records[0][0]["nelbo"] == pytest.approx(records[1][0]["nelbo"], 1e-5)

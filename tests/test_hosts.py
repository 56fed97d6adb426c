"""A run on several hosts, which here are processes of one machine.

They are started as Slurm starts them: `--distributed` finds each other's addresses
in the variables that it sets.
"""

import os
import pathlib
import random
import subprocess
import sys

import jax
import numpy as np
import pytest

from lsgm.training.checkpoints import read
from lsgm.training.records import read_records

pytestmark = [pytest.mark.slow, pytest.mark.multidevice]
ROOT = pathlib.Path(__file__).parents[1]
CONFIG = """
from tests import tiny

def get_config():
    return tiny.config()
"""


def start(folder: pathlib.Path, *flags: str, **environment: str) -> subprocess.Popen:
    path = folder.parent / "config.py"
    path.write_text(CONFIG)
    command = [sys.executable, "-m", "experiments.train", f"--config={path}"]
    return subprocess.Popen(
        [*command, f"--workdir={folder}", *flags],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes: subprocess.Popen) -> None:
    outputs = [process.communicate(timeout=900)[0] for process in processes]
    codes = [process.returncode for process in processes]
    assert codes == [0] * len(processes), "\n".join(outputs)


def slurm(process: int, count: int, job: int) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(count),
        "SLURM_PROCID": str(process),
        "SLURM_LOCALID": str(process),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
    }


def test_two_hosts_of_one_device_equal_one_host_of_two(tmp_path):
    """Both stages: same batches, same draws, same parameters, and one set of files."""
    one, two = tmp_path / "one", tmp_path / "two"
    finish(start(one, XLA_FLAGS="--xla_force_host_platform_device_count=2"))
    job = random.SystemRandom().randrange(10**6)
    hosts = [start(two, "--distributed", **slurm(i, 2, job)) for i in range(2)]
    finish(*hosts)
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

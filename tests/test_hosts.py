"""A run on several hosts, which here are processes of one machine."""

import os
import random
import signal
import socket
import time

import jax
import numpy as np
import pytest

from lsgm.training import hosts
from lsgm.training.checkpoints import list_steps, read
from lsgm.training.hosts import LOST_PEER
from lsgm.training.records import read_records
from tests import commands

pytestmark = pytest.mark.multidevice
DEVICES = "--xla_force_host_platform_device_count="


def plain(process: int, count: int, port: int) -> list[str]:
    return [
        "--distributed",
        f"--coordinator=localhost:{port}",
        f"--num_processes={count}",
        f"--process_id={process}",
    ]


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("localhost", 0))
        return opened.getsockname()[1]


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
    """Both stages: same batches, same draws, same parameters, and one set of files.
    Slurm's variables say where the other process is."""
    one, two = tmp_path / "one", tmp_path / "two"
    words = ["experiments.train", commands.TINY]
    log = tmp_path / "log.txt"
    commands.run([*words, f"--workdir={one}"], log, XLA_FLAGS=f"{DEVICES}2")
    job = random.SystemRandom().randrange(10**6)
    started = [
        commands.start(
            [*words, f"--workdir={two}", "--distributed"], log, slurm(i, 2, job)
        )
        for i in range(2)
    ]
    assert [commands.finish(host) for host in started] == [0, 0], log.read_text()
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


def test_hosts_stop_together_and_end_when_one_is_killed(tmp_path):
    """Started by hand. One is asked to stop: both save the same step. Started again,
    one is killed: the other says who it was, and ends."""
    words = [
        "experiments.train",
        commands.TINY,
        f"--workdir={tmp_path / 'run'}",
        "--config.stages.vae.num_steps=1000000",
        *(f"--config.stages.vae.{k}_every=1000000" for k in ("sample", "eval", "log")),
        "--config.stages.vae.checkpoint_every=5",
    ]
    saved = tmp_path / "run" / "vae" / "checkpoints"
    logs = [tmp_path / f"{i}.txt" for i in range(2)]

    def start() -> list:
        port, flags = free_port(), {"XLA_FLAGS": f"{DEVICES}1"}
        pair = [
            commands.start([*words, *plain(i, 2, port)], logs[i], flags)
            for i in range(2)
        ]
        before, until = list_steps(saved)[-1:], time.monotonic() + commands.SECONDS
        while list_steps(saved)[-1:] == before and time.monotonic() < until:
            assert all(host.is_alive() for host in pair), _texts(logs)
            time.sleep(0.1)
        return pair

    pair = start()
    os.kill(pair[1].pid, signal.SIGTERM)
    assert [commands.finish(host) for host in pair] == [143, 143], _texts(logs)
    (one, other) = (text.split("saved vae at step ")[1] for text in _texts(logs))
    assert one == other
    pair = start()
    os.kill(pair[1].pid, signal.SIGKILL)
    assert commands.finish(pair[0]) == LOST_PEER, _texts(logs)
    assert commands.finish(pair[1]) == -signal.SIGKILL
    said = _texts(logs)[0].splitlines()[-1]
    assert said.startswith(f"error: process {pair[1].pid} on {socket.gethostname()}")


def _texts(logs) -> list[str]:
    return [log.read_text() for log in logs]


def test_a_process_without_its_whole_place_is_refused(tmp_path):
    words = ["experiments.train", commands.TINY, f"--workdir={tmp_path}"]
    log = tmp_path / "log.txt"
    for given, missing in (
        (["--process_id=1"], "--coordinator, --num_processes too"),
        (plain(0, 1, 1)[1:], "--distributed too"),
    ):
        assert commands.finish(commands.start([*words, *given], log)) == 1
        assert missing in log.read_text().splitlines()[-1]


def test_agreement_is_that_to_the_step_before(monkeypatch):
    """Of a single process, to the step itself."""
    alone, of_two = hosts.Agreement(), hosts.Agreement()
    asked = [False, True, False, False]
    assert [alone(flag) for flag in asked] == asked
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert [of_two(flag) for flag in asked] == [False, False, True, False]
    assert [hosts.agree(flag) for flag in asked] == asked

"""Runs that diverge, are stopped, find damage or meet another process.

The update is a stand-in that compiles in no time; all around it is real.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.locks import InUseError
from lsgm.runs import experiment, train
from lsgm.runs.workdir import WorkdirError
from lsgm.training import state as states
from lsgm.training.checkpoints import describe, list_steps, read
from lsgm.training.guard import DivergedError, Interrupted
from lsgm.training.records import read_records
from tests import tiny
from tests.marks import first_fast


class Update:
    """Adds what depends on the batch, the key and the rate; diverges on request.

    Attributes:
      faulty: by step: what its metrics are if the rate is at least ``above``.
      at: called with the number of all calls up to now.
    """

    def __init__(self, faulty=None, above=0.9, at=None):
        self.faulty, self.above, self.at = faulty or {}, above, at
        self.batches, self.calls = [], 0

    def make(self, stage, vae, factor=1.0):
        def update(state, batch):
            self.calls += 1
            if self.at is not None:
                self.at(self.calls)
            step = int(state.step) + 1
            self.batches.append((step, batch["levels"].sum()))
            change = factor * (
                float(batch["levels"].mean())
                + jax.random.uniform(jax.random.fold_in(jax.random.clone(state.key), 0))
            )
            params = jax.tree.map(lambda p: p + change, state.params)
            metrics = {"nelbo": 600.0 - step, "skipped": 0.0}
            if factor >= self.above:
                metrics |= self.faulty.get(step, {})
            return state.replace(step=state.step + 1, params=params), metrics

        return update


@pytest.fixture
def run(monkeypatch, tmp_path):
    """``run(update, **stage)``: train in a workdir; stages of 8 steps."""

    def initial_state(stage, vae, key):
        params = {"vae": {"w": jnp.zeros(2)}}
        return states.create(key, params, {"vae": {}}, {}, ())

    monkeypatch.setattr(train, "initial_state", initial_state)
    monkeypatch.setattr(train, "inherit", lambda state, carried, stage: state)
    monkeypatch.setattr(train, "observers", lambda *args: [])

    def train_with(update, workdir=tmp_path / "run", **stage):
        monkeypatch.setattr(train, "mapped_update", update.make)
        config = tiny.config(**{"num_steps": 8, "log_every": 3} | stage)
        train.train(experiment.from_config(config), config, workdir)
        return workdir

    return train_with


def final(workdir: pathlib.Path) -> tuple:
    """Parameters and records of a finished run."""
    folder = workdir / "vae"
    params = read(folder / "checkpoints" / "8", ("params",))["params"]["vae"]["w"]
    return params.tolist(), read_records(folder / "metrics.jsonl")


FAR = {step: {"nelbo": 1e9} for step in range(5, 9)}
SKIPPED = {step: {"skipped": 1.0, "spoiled_vae": 1.0} for step in range(5, 9)}


@pytest.mark.parametrize(
    "faulty, reason",
    [(FAR, "nelbo = 1e.09, and 599 at the start"), (SKIPPED, "new parameters of vae")],
)
@pytest.mark.parametrize("log_every", [1, 100])
def test_divergence_ends_the_run_within_steps_with_a_diagnosis(
    run, tmp_path, faulty, reason, log_every
):
    """Whatever the period of the records; the last healthy state is there."""
    update = Update(faulty)
    with pytest.raises(DivergedError, match=reason) as error:
        run(update, log_every=log_every, max_suspicious=3, checkpoint_every=1)
    # Each step is looked at when the next one is on its way.
    assert update.batches[-1][0] <= 8
    assert "since step 5" in str(error.value)
    assert "Stage vae, batch 4, examples of the train split: " in str(error.value)
    assert "last healthy checkpoint is of step 4" in str(error.value)
    assert list_steps(tmp_path / "run/vae/checkpoints") == [4, 5, 6]


def test_rollback_goes_on_with_other_batches_and_half_the_rate(run, capsys):
    update = Update(FAR)
    workdir = run(update, max_suspicious=2, max_rollbacks=1)
    assert describe(workdir / "vae/checkpoints/8")["rollbacks"] == 1
    warning = capsys.readouterr().err
    assert "rollback 1 of 1: going on from step 4" in warning
    assert "learning rates x 0.5" in warning
    steps = [step for step, _ in update.batches]
    back = steps.index(5, 5)
    assert steps[back : back + 4] == [5, 6, 7, 8]
    assert update.batches[back : back + 2] != update.batches[4:6]
    records = read_records(workdir / "vae/metrics.jsonl")
    assert [record["step"] for record in records] == [3, 6]
    assert records[-1]["nelbo"] < 600


@pytest.mark.parametrize("call", first_fast([7, 3, 4, 5, 6, 8, 9, 10]))
def test_killed_run_with_a_rollback_goes_on_bit_for_bit(run, tmp_path, call):
    stage = dict(max_suspicious=2, max_rollbacks=2)
    whole = final(run(Update(FAR, above=0.4), tmp_path / "whole", **stage))

    class Killed(BaseException):
        pass

    def kill(calls):
        if calls == call:
            raise Killed

    with pytest.raises(Killed):
        run(Update(FAR, above=0.4, at=kill), **stage)
    assert final(run(Update(FAR, above=0.4), **stage)) == whole


def test_divergence_before_the_first_save_begins_anew(run):
    faulty = {step: {"nelbo": float("nan"), "skipped": 1.0} for step in (1, 2)}
    workdir = run(Update(faulty), max_suspicious=2, max_rollbacks=1, checkpoint_every=1)
    assert describe(workdir / "vae/checkpoints/8")["rollbacks"] == 1


def test_a_stage_that_ends_worse_than_it_began_is_told(run, capsys):
    faulty = {step: {"nelbo": 700.0} for step in range(4, 9)}
    run(Update(faulty))
    assert "vae: the training bound ended at 700 nats, worse than 598 at" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("call", [3, 8])
def test_one_signal_saves_and_starts_no_further_stage(run, number, call):
    """In the middle of a stage, and in its last step: the next is not begun."""

    def stop(calls):
        if calls == call:
            os.kill(os.getpid(), number)
            time.sleep(0.5)  # A thread reads signals.

    update = Update(at=stop)
    with pytest.raises(Interrupted) as error:
        run(update, checkpoint_every=100)
    assert error.value.signal == number
    assert update.calls == call


@pytest.mark.parametrize("left", ["", '{"step": 3, "nelbo": 1.0}\n', "\0" * 40])
def test_lost_records_are_told(run, capsys, left):
    workdir = run(Update())
    path = workdir / "vae/metrics.jsonl"
    whole = path.read_text()
    run(Update())
    assert "are lost" not in capsys.readouterr().err
    path.write_text(left)
    run(Update())
    found = left.count("nelbo")
    assert f"{path} holds {found} of {whole.count('nelbo')} records up to step 8" in (
        capsys.readouterr().err
    )


def test_nul_bytes_between_records_are_left_out(run):
    workdir = run(Update())
    path = workdir / "vae/metrics.jsonl"
    whole = read_records(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "\0\0\0", "[]", "null", "{}", *lines[1:]]))
    assert read_records(path) == whole


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\0\0"])
def test_damaged_config_is_written_anew_and_still_held_against(run, content, capsys):
    workdir = run(Update())
    path = workdir / "config.json"
    whole = path.read_text()
    path.write_text(content)
    with pytest.raises(WorkdirError, match="batch_size: 4 there, 8 now"):
        run(Update(), batch_size=8)
    assert "config.json is damaged" in capsys.readouterr().err
    assert (workdir / "config.json.damaged").read_text() == content
    assert path.read_text() == whole
    run(Update())


def test_second_process_on_a_workdir_is_refused(run, tmp_path):
    workdir = tmp_path / "run"
    code = (
        "import pathlib, sys, lsgm.locks\n"
        "with lsgm.locks.lock_file(pathlib.Path(sys.argv[1])):\n"
        "    print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, workdir / train.LOCK],
        cwd=pathlib.Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    update = Update()
    with pytest.raises(InUseError, match=f"in use by process {holder.pid}"):
        run(update)
    assert not update.calls and not (workdir / "config.json").exists()
    holder.communicate(b"")
    run(update)
    assert not (workdir / train.LOCK).exists()


def test_health_is_part_of_the_checkpoint(run):
    workdir = run(Update({7: {"skipped": 1.0}, 8: {"skipped": 1.0}}))
    meta = describe(workdir / "vae/checkpoints/8")
    assert meta["healthy"] is False and meta["health"]["streak"] == 2
    assert np.isclose(meta["health"]["first"], 599)
    assert json.loads(json.dumps(meta)) == meta

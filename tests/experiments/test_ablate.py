"""A study as a user starts it: shared, killed, gone on with."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from lsgm.training.checkpoints import describe, read

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).parents[2]
FIELDS = ("params", "ema", "opt", "mutables", "key", "step")
TABLES = ("study.csv", "study.json", "study.md")


def command(module: str, *words: str) -> list[str]:
    return [sys.executable, "-m", f"experiments.{module}", *words]


def ablate(folder: pathlib.Path) -> list[str]:
    return command("ablate", "--config=tests/tiny_study.py", f"--workdir={folder}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("studies") / "whole"
    subprocess.run(ablate(folder), cwd=ROOT, check=True)
    return folder


def test_a_shared_stage_is_trained_once_and_equals_one_trained_alone(
    finished, tmp_path
):
    (shared,) = (finished / "shared").iterdir()
    assert not (shared / "lsgm").exists()
    run, alone = finished / "runs" / "off_seed0", tmp_path / "alone"
    config = f"--config=configs/resolved.py:{run / 'config.json'}"
    subprocess.run(command("train", config, f"--workdir={alone}"), cwd=ROOT, check=True)
    for stage in ("vae", "lsgm"):
        here, there = (f / stage / "checkpoints" / "4" for f in (run, alone))
        fields = [f for f in FIELDS if f in _fields(here)]
        jax.tree.map(
            np.testing.assert_array_equal, read(here, fields), read(there, fields)
        )
        assert describe(here) == describe(there)
        records = [(f / stage / "metrics.jsonl").read_text() for f in (run, alone)]
        assert records[0] == records[1]


def _fields(checkpoint: pathlib.Path) -> set[str]:
    index = json.loads((checkpoint / "index" / "metadata").read_text())
    return {name.split("/")[0] for name in index}


def test_a_second_start_finds_everything_there(finished):
    before = [(finished / name).read_text() for name in TABLES]
    found = subprocess.run(
        ablate(finished), cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert "3 done, 0 running, 0 waiting" in found.stdout
    assert before == [(finished / name).read_text() for name in TABLES]


def test_killed_in_the_middle_it_goes_on_to_the_same_table(finished, tmp_path):
    folder = tmp_path / "killed"
    process = subprocess.Popen(ablate(folder), cwd=ROOT, start_new_session=True)
    while not list(folder.glob("runs/*/lsgm")):
        assert process.poll() is None
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "study.csv").exists()
    subprocess.run(ablate(folder), cwd=ROOT, check=True)
    for name in TABLES:
        assert (folder / name).read_text() == (finished / name).read_text()


def test_a_study_of_priors_without_a_bound_shows_none(tmp_path):
    words = ablate(tmp_path)
    words[words.index("--config=tests/tiny_study.py")] += ":boundless"
    subprocess.run(words, cwd=ROOT, check=True)
    with (tmp_path / "study.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["prior"] for line in lines] == ["moments", "critic"]
    assert [line["sampling.nfe"] for line in lines] == ["1.0", "1.0"]
    assert not {"bound", "bits_per_dim"} & set(lines[0])
    page = (tmp_path / "study.html").read_text().split("<body")[1]
    assert "sampling.nfe" in page and "Bound on" not in page


def test_a_study_that_was_changed_is_refused(finished):
    words = [*ablate(finished), "--config.base.stages.vae.batch_size=8"]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 1
    assert "stages.vae.batch_size: 4 there, 8 now" in found.stderr

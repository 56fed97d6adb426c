"""Processes of a job: which, when not, and what is left of a failing one."""

import json
import sys

import pytest

from lsgm.evaluation import provenance
from lsgm.studies import work
from lsgm.studies.jobs import Job


def job(folder, **fields) -> Job:
    config = {"stage_order": ("vae",), "stages": {"vae": {"num_steps": 4}}}
    return Job(name="x", folder=folder, config=config, **fields)


# By sha256sum, of
#   {"stage_order": ["vae"], "stages": {"vae": {"num_steps": 4}}}
#   {"stage_order": ["vae"], "stages": {"vae": {"keep_best": true, "num_steps": 4}}}
CONFIG = "ddaa7b66da30d0898738a74d52cb7a634666fca861071f65fe4f82a34ecf25b0"
KEEPING = "ee93451b5c26af3b0018c3d3096201a3343644eca7096118d19371a797e56537"


@pytest.fixture(autouse=True)
def code(monkeypatch):
    """A name for the code as it is."""
    monkeypatch.setattr(provenance, "code_sha256", lambda: "c0de")


def card(*, step: int, config: str = CONFIG) -> dict:
    """Of an evaluation of a config's stage by this code."""
    return {
        "stage": "vae",
        "step": step,
        "config_sha256": config,
        "code_sha256": "c0de",
    }


def test_what_is_taken_whole_is_only_evaluated(tmp_path):
    train, evaluate = work.commands(job(tmp_path))
    assert train[0] == "experiments.train" and f"--workdir={tmp_path}" in train
    assert evaluate[0] == "experiments.evaluate"
    (only,) = work.commands(job(tmp_path, taken=("vae",)))
    assert only[0] == "experiments.evaluate"
    (only,) = work.commands(job(tmp_path, evaluates=False))
    assert only[0] == "experiments.train"


def test_processes_trust_what_the_study_names(tmp_path):
    """They read its config from where it was stored."""
    one = job(tmp_path)
    one.config["vae"] = {"target": "mine.vae:VAE", "network": {"target": "lsgm.x:Y"}}
    for command in work.commands(one):
        assert command[-1] == "--trust=mine"
        assert sum(word.startswith("--trust") for word in command) == 1


def test_a_failing_process_is_an_error_with_its_log(tmp_path, monkeypatch):
    words = ["no_such_module_of_this_project"]
    monkeypatch.setattr(work, "commands", lambda job: iter([words]))
    with pytest.raises(work.JobError, match="status 1"):
        work.work(job(tmp_path))
    assert "No module named no_such_module" in work.tail(job(tmp_path))


def test_a_job_started_from_another_folder_finds_its_files(tmp_path, monkeypatch):
    """The command and the config file are found, and the config is read: it lacks
    nearly everything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    one = job(tmp_path)
    (tmp_path / work.CONFIG).write_text(json.dumps({"seed": 0}))
    with pytest.raises(work.JobError, match="experiments.train ended with status 1"):
        work.work(one)
    assert "error: config" in work.tail(one) and "missing data, vae" in work.tail(one)


def test_processes_get_the_variables_of_their_share(tmp_path, monkeypatch):
    code = "import os; print('share', os.environ['SHARE'])"
    monkeypatch.setattr(work, "sys", type("S", (), {"executable": sys.executable}))
    monkeypatch.setattr(work, "commands", lambda job: iter([["timeit", "-n1", code]]))
    work.work(job(tmp_path), {"SHARE": "seven"})
    assert "share seven" in (tmp_path / "log.txt").read_text()


def test_an_evaluation_counts_for_its_config_code_and_step(tmp_path):
    one = job(tmp_path)
    assert not work.finished(one)
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"card": card(step=4)}))
    assert work.finished(one)
    for name in card(step=4):
        path.write_text(json.dumps({"card": {**card(step=4), name: "other"}}))
        assert not work.finished(one)
    path.write_text('{"card": {')
    assert not work.finished(one)


def test_where_the_best_state_is_kept_its_evaluation_counts(tmp_path, monkeypatch):
    """Once the stage is at its end, for a better one may come before."""
    one = job(tmp_path)
    one.config["stages"]["vae"]["keep_best"] = True
    kept = json.dumps({"card": card(step=2, config=KEEPING)})
    (tmp_path / "metrics.json").write_text(kept)
    steps = {"checkpoints": [2, 3], "best": [1, 2]}
    monkeypatch.setattr(work, "list_steps", lambda folder: steps[folder.name])
    assert not work.finished(one)
    steps["checkpoints"] = [3, 4]
    assert work.finished(one)
    steps["best"] = [2, 4]
    assert not work.finished(one)


def test_where_no_best_state_was_found_the_newest_counts(tmp_path, monkeypatch):
    one = job(tmp_path)
    one.config["stages"]["vae"]["keep_best"] = True
    steps = {"checkpoints": [3, 4], "best": []}
    monkeypatch.setattr(work, "list_steps", lambda folder: steps[folder.name])
    assert not work.finished(one)
    newest = json.dumps({"card": card(step=4, config=KEEPING)})
    (tmp_path / "metrics.json").write_text(newest)
    assert work.finished(one)

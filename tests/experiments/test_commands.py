"""Every command, once, on something tiny: started as a user starts it."""

import csv
import itertools
import json
import pathlib
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from lsgm.interop import files
from lsgm.runs import train
from lsgm.runs.workdir import claim
from lsgm.studies import executors, jobs, schedule, study, work
from lsgm.training.checkpoints import describe, find, read, replace_config
from lsgm.training.records import read_records
from tests import commands, tiny_study
from tests.interop.published_run import run as published_run

FIELDS = ("params", "ema", "opt", "mutables", "key", "step")


@pytest.fixture
def command(tmp_path):
    """``command(name, *words)``: what it prints; fails where its status is not 0."""

    number = itertools.count()

    def run(name: str, *words: str) -> str:
        log = tmp_path / f"{name}{next(number)}.log"
        return commands.run([f"experiments.{name}", *words], log)

    return run


def printed(said: str) -> dict:
    """The JSON object that a command's output ends with."""
    return json.loads(said[said.index("{\n") :])


def pictures(folder: pathlib.Path) -> set[str]:
    """Names of the files of a folder that begin as a PNG or a GIF does."""
    return {
        path.name
        for path in folder.iterdir()
        if path.read_bytes()[:6] in (b"\x89PNG\r\n", b"GIF89a")
    }


def test_a_killed_training_goes_on_bit_for_bit(command, tmp_path, trained):
    """Killed in its second stage, as by the machine; then the same command."""
    workdir = tmp_path / "resumed"
    words = (commands.TINY, f"--workdir={workdir}")
    log = tmp_path / "killed.log"
    process = commands.start(["experiments.train", *words], log)
    while not (workdir / "lsgm" / "checkpoints" / "2").exists():
        assert process.is_alive(), log.read_text()
        time.sleep(0.02)
    process.kill()
    assert commands.finish(process) == -signal.SIGKILL
    assert not (workdir / "lsgm" / "checkpoints" / "4").exists()
    command("train", *words)
    for stage in ("vae", "lsgm"):
        here, there = (run / stage for run in (workdir, trained))
        jax.tree.map(
            np.testing.assert_array_equal,
            read(here / "checkpoints" / "4", FIELDS),
            read(there / "checkpoints" / "4", FIELDS),
        )
        records = [read_records(run / "metrics.jsonl") for run in (here, there)]
        assert records[0] == records[1]
        assert [r["step"] for r in records[0] if "nelbo" in r] == [2, 4]


def test_one_sigterm_ends_a_training_with_its_status(tmp_path):
    """What is done is saved, and no further stage is begun."""
    workdir, log = tmp_path / "run", tmp_path / "log.txt"
    words = ["experiments.train", commands.TINY, f"--workdir={workdir}"]
    process = commands.start(words, log)
    while "compiling" not in (log.read_text() if log.exists() else ""):
        assert process.is_alive(), log.read_text()
        time.sleep(0.02)
    process.terminate()
    assert commands.finish(process) == 128 + signal.SIGTERM, log.read_text()
    assert "The same command goes on from there." in log.read_text()
    assert not (workdir / "lsgm").exists()
    assert not (workdir / train.LOCK).exists()


def test_sample_writes_images_and_calls(command, tmp_path, trained):
    words = (f"--checkpoint={trained}", f"--out={tmp_path}", "--batch_size=4")
    said = command("sample", *words, "--num_samples=6")
    assert "6 samples, 3 network calls each, from lsgm step 4" in said
    with np.load(tmp_path / "samples.npz") as file:
        images, calls = file["images"], file["nfe"]
    assert images.shape == (6, 28, 28, 1) and images.dtype == np.uint8
    assert calls.tolist() == [3] * 6
    heun = ("--sampler=lsgm.samplers.heun:Heun", "--sampler_arg=num_steps=3")
    assert "4 samples, 5 network" in command("sample", *words, *heun, "--num_samples=4")


def test_commands_import_no_package_that_a_stored_config_alone_names(tmp_path, trained):
    """The flag lets them look for the class, which is not there."""
    step = tmp_path / "1"
    shutil.copytree(find(trained), step)
    config = describe(step)["config"]
    config["vae"]["network"] = {"target": "tests.tiny:Missing"}
    replace_config(step, config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    resolved = f"--config=configs/resolved.py:{tmp_path / 'config.json'}"
    sample = ("sample", f"--checkpoint={step}")
    train = ("train", resolved, f"--workdir={tmp_path / 'run'}")
    cases = [
        (sample, "--trust=tests"),
        (("evaluate", f"--checkpoint={step}"), "--trust=tests"),
        (("explore", f"--checkpoint={step}"), "--trust=tests"),
        (("export_checkpoint", f"--checkpoint={step}", "--to=x.npz"), "--trust=tests"),
        (("benchmark", "samplers", f"--checkpoint={step}", "--out=x"), "--trust=tests"),
        (train, "--trust=tests"),
        ((*sample, "--trust=tests"), "allowed are"),
        ((*train, "--trust=tests"), "allowed are"),
    ]
    logs = [tmp_path / f"{number}.log" for number in range(len(cases))]
    started = [
        commands.start([f"experiments.{words[0]}", *words[1:]], log)
        for (words, _), log in zip(cases, logs, strict=True)
    ]
    for process, log, (_, said) in zip(started, logs, cases, strict=True):
        assert commands.finish(process) == 1
        assert "config.vae.network.target = 'tests.tiny:Missing'" in log.read_text()
        assert said in log.read_text()


def test_a_temperature_of_zero_is_used_and_a_sample_keeps_its_place(
    command, tmp_path, trained
):
    """The sampler's samples depend on how many are drawn at once."""
    words = (f"--checkpoint={trained}", "--batch_size=4", "--sampler=tests.crowd:Crowd")
    found = []
    for num in (2, 4):
        out = tmp_path / str(num)
        command("sample", *words, f"--num_samples={num}", f"--out={out}")
        with np.load(out / "samples.npz") as file:
            found.append(file["images"])
    np.testing.assert_array_equal(found[0], found[1][:2])
    assert len(np.unique(found[1], axis=0)) > 1
    cold = ("--num_samples=4", "--temperature=0", f"--out={tmp_path}")
    command("sample", *words, *cold)
    with np.load(tmp_path / "samples.npz") as file:
        assert len(np.unique(file["images"], axis=0)) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample", "--temperature=nan"], "config.evaluation.temperature = nan: must"),
        (["sample", "--temperature=-1"], "config.evaluation.temperature = -1.0: must"),
        (["sample", "--seed=-1"], "flag --seed=-1: "),
        (["explore", f"--seed={2**32}"], f"flag --seed={2**32}: "),
        (["sample", "--out=gs://a/b"], "flag --out=gs://a/b: a URL"),
        (["explore", "--out={file}"], "is a file; name a folder"),
        (["evaluate", "--out={file}/x"], "is a file; name a folder"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_in_one_line(
    words, said, tmp_path, trained
):
    file, log = tmp_path / "file", tmp_path / "log.txt"
    file.touch()
    name, flag = words
    full = [f"experiments.{name}", f"--checkpoint={trained}", flag.format(file=file)]
    assert commands.finish(commands.start(full, log)) == 1
    (line,) = log.read_text().splitlines()
    assert line.startswith("error: ") and said in line


def test_evaluations_are_written_and_compared(command, tmp_path, trained):
    for seed in (0, 1):
        out = f"--out={tmp_path / str(seed)}"
        command("evaluate", f"--checkpoint={trained}", out, f"--seed={seed}")
        found = json.loads((tmp_path / str(seed) / "metrics.json").read_text())
        assert np.isfinite(found["bound"]["nelbo"]["nats"])
        assert found["card"]["seed"] == seed
        assert (tmp_path / str(seed) / "report.html").is_file()
    folders = [str(tmp_path / seed) for seed in "01"]
    command("evaluate", "--compare", *folders, f"--out={tmp_path / 'compared'}")
    assert list((tmp_path / "compared").glob("*.html"))


def test_explore_writes_its_pictures(command, tmp_path, trained):
    words = ("--num=2", "--num_steps=3", "--num_noises=2", "--time=0.5")
    command("explore", f"--checkpoint={trained}", f"--out={tmp_path / 'out'}", *words)
    expected = {"round_trip.png", "interpolation.png", "traversal.gif"}
    assert pictures(tmp_path / "out") == expected


def test_build_reference_writes_what_it_prints(command, tmp_path):
    out = tmp_path / "reference.npz"
    words = ("--config=configs/demo.py", "--split=validation", "--num_features=100")
    record = printed(command("build_reference", *words, f"--out={out}"))
    assert record["num_images"] == 500
    assert out.is_file()


def test_train_features_writes_weights(command, tmp_path):
    """Of one batch of noise with labels."""
    rng = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        x = rng.integers(0, 256, (100, 28, 28, 1)).astype(np.uint8)
        np.savez(tmp_path / f"{split}.npz", x=x, y=np.arange(100) % 10)
    config = tmp_path / "config.py"
    config.write_text(
        "from configs import pieces\n"
        "from tests import tiny\n\n\n"
        "def get_config():\n"
        "    config = tiny.config()\n"
        f"    files = {{s: '{tmp_path}/' + s + '.npz' for s in "
        "('train', 'validation', 'test')}\n"
        "    source = pieces.piece('data.sources.arrays:Npz', **files)\n"
        "    config.data.source = source\n"
        "    return config\n"
    )
    out = tmp_path / "cnn.npz"
    words = (f"--config={config}", "--name=small", "--num_epochs=1", f"--out={out}")
    said = printed(command("train_features", *words))
    assert said == json.loads(out.with_suffix(".json").read_text())
    with np.load(out) as file:
        assert all(np.isfinite(file[name]).all() for name in file.files)


def test_a_published_run_is_imported_sampled_and_exported(command, tmp_path):
    """What goes in comes out."""
    given, back = tmp_path / "published.npz", tmp_path / "exported.npz"
    workdir = tmp_path / "imported"
    files.write(given, published_run())
    command("import_checkpoint", f"--from={given}", f"--workdir={workdir}")
    command("export_checkpoint", f"--checkpoint={workdir}", f"--to={back}")
    ours, theirs = files.read(back), files.read(given)
    for part in ("vae", "prior"):
        here, there = getattr(ours, part), getattr(theirs, part)
        assert here.keys() == there.keys()
        for name in here:
            np.testing.assert_array_equal(here[name], there[name])


def test_plan_prices_both_stages(command, tmp_path):
    said = command("plan", commands.TINY, f"--json={tmp_path / 'plan.json'}")
    assert "stage vae: 4 steps of 4 images" in said and "stage lsgm" in said
    found = json.loads((tmp_path / "plan.json").read_text())
    assert [one["stage"]["num_steps"] for one in found] == [4, 4]


def test_a_set_is_prepared_and_verified(command, tmp_path):
    digits = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1))
    np.savez(tmp_path / "digits.npz", x=digits.astype(np.uint8))
    named = ("--name=few", f"--data_dir={tmp_path}")
    words = (
        "--from=npz",
        f"--root={tmp_path / 'digits.npz'}",
        "--first=train=8,test=2",
    )
    assert "10 images" in command("prepare_data", *named, *words)
    command("prepare_data", *named, "--verify")


def test_benchmark_writes_its_tables(command, tmp_path):
    out = f"--out={tmp_path / 'variance'}"
    command("benchmark", "variance", out, "--batches=2", "--batch_size=2")
    assert (tmp_path / "variance" / "variance.csv").is_file()
    words = (
        commands.TINY,
        "--step_seconds=1",
        "--seconds=0.1",
        f"--out={tmp_path / 'data'}",
    )
    command("benchmark", "data", *words)
    assert (tmp_path / "data" / "data.json").is_file()


def test_a_study_of_two_points_trains_what_they_share_once(
    command, tmp_path, monkeypatch
):
    """Three jobs, each the commands that it would be; then the study's own command
    finds nothing left to do but the page."""

    def run(words, log, variables, lock):
        commands.run(words, pathlib.Path(log.name))

    monkeypatch.setattr(work, "_run", run)
    folder = tmp_path / "study"
    runs = study.runs(study.from_config(tiny_study.get_config()))
    planned = jobs.of_runs(runs, folder)
    for job in planned:
        claim(job.folder, work.resolved(job.config))
    progress = schedule.run(
        planned,
        executors.Local(1),
        at_once=1,
        is_finished=work.finished,
        tell=lambda progress: None,
    )
    assert not progress.failed and len(progress.done) == 3
    (shared,) = (folder / "shared").iterdir()
    assert [path.name for path in shared.glob("*/checkpoints")] == ["checkpoints"]
    said = command("ablate", "--config=tests/tiny_study.py", f"--workdir={folder}")
    assert "3 done, 0 running, 0 waiting" in said
    with (folder / "study.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["mixed"] for row in rows] == ["on", "off"]
    assert all(float(row["calls"]) == 3 for row in rows)
    assert float(rows[0]["bound"]) != float(rows[1]["bound"])

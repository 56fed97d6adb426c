"""What is done to runs, a function each: it returns how many faults it did, and raises
``Lost`` where a run did not survive them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from lsgm.training.checkpoints import list_steps, read
from lsgm.training.hosts import LOST_PEER
from tests import commands
from tests.stress.bench import (
    LONGER,
    STAGES,
    Bench,
    finish,
    flat,
    kill_at_random,
    kill_once,
    measure,
    require,
    same_training,
    train_words,
    without_times,
)


def kill_training(bench: Bench) -> int:
    """Killed at random moments, up to four times in a row."""
    workdir = bench.fresh()
    kills = kill_at_random(bench, train_words(workdir), 4, bench.seconds)
    finish(bench, train_words(workdir))
    same_training(bench, workdir)
    return kills


def kill_saving(bench: Bench) -> int:
    """Killed while a checkpoint is written."""
    workdir, skipped = bench.fresh(), int(bench.rng.integers(0, 5))
    seen: set[str] = set()

    def saving(_: float) -> bool:
        seen.update(str(p) for p in workdir.glob("*/checkpoints/*tmp*"))
        return len(seen) > skipped and any(p for p in seen if os.path.exists(p))

    kills = kill_once(bench, train_words(workdir), saving)
    finish(bench, train_words(workdir))
    same_training(bench, workdir)
    return int(kills)


def kill_evaluation(bench: Bench) -> int:
    """Killed at random moments, then numbers and arrays of each example."""
    words = ["experiments.evaluate", f"--checkpoint={bench.whole}"]
    outs = [bench.folder / "evaluated", bench.fresh()]
    once, again = ([*words, f"--out={out}"] for out in outs)
    kills = kill_at_random(bench, again, 3, measure(bench, once, "evaluating"))
    finish(bench, again)
    one, other = (json.loads((out / "metrics.json").read_text()) for out in outs)
    require(without_times(one) == without_times(other), "other numbers", bench)
    with (
        np.load(outs[0] / "per_example.npz") as one,
        np.load(outs[1] / "per_example.npz") as other,
    ):
        for name in one:
            require(np.array_equal(one[name], other[name]), f"other {name}", bench)
    return kills


def kill_preparation(bench: Bench) -> int:
    """Killed with its workers; then every file of the set."""
    pictures = bench.folder / "pictures"
    if not pictures.exists():
        pictures.mkdir()
        drawn = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), np.uint8)
        for i, pixels in enumerate(drawn):
            Image.fromarray(pixels).save(pictures / f"{i:03d}.png")
    words = [
        "experiments.prepare_data",
        "--from=folder",
        f"--root={pictures}",
        "--name=set",
        "--hold_out=test=0.2",
        "--num_processes=2",
    ]
    outs = [bench.folder / "prepared", bench.fresh()]
    once, again = ([*words, f"--data_dir={out}"] for out in outs)
    kills = kill_at_random(bench, again, 3, measure(bench, once, "preparing"))
    if not (outs[1] / "set" / "1.0.0").exists():
        finish(bench, again)
    one, other = (
        {p.relative_to(out): p.read_bytes() for p in out.rglob("*.array_record*")}
        for out in outs
    )
    require(bool(one) and one == other, "other files", bench)
    return kills


def kill_study(bench: Bench) -> int:
    """Killed with its jobs; then its table."""
    outs = [bench.folder / "study", bench.fresh() / "study"]
    words = ["experiments.ablate", "--config=tests/tiny_study.py"]
    once, again = ([*words, f"--workdir={out}"] for out in outs)
    kills = kill_at_random(bench, again, 1, measure(bench, once, "studying"))
    finish(bench, again)
    for name in ("study.csv", "study.json", "study.md"):
        one, other = ((out / name).read_text() for out in outs)
        require(one == other, f"another {name}", bench)
    return kills


def damage_storage(bench: Bench) -> int:
    """A byte flipped, a file cut or removed in the newest checkpoint of a stage."""
    workdir = bench.fresh() / "run"
    shutil.copytree(bench.whole, workdir)
    stage = bench.rng.choice(["vae", "lsgm"])
    if stage == "vae":
        shutil.rmtree(workdir / "lsgm")
    folder = workdir / stage / "checkpoints"
    newest = folder / str(list_steps(folder)[-1])
    files = sorted(p for p in newest.rglob("*") if p.is_file() and p.stat().st_size)
    path, kind = files[bench.rng.integers(len(files))], bench.rng.integers(3)
    content = bytearray(path.read_bytes())
    if kind == 0:
        place = bench.rng.integers(len(content))
        content[place] ^= 1 << int(bench.rng.integers(8))
        path.write_bytes(content)
    elif kind == 1:
        path.write_bytes(content[: bench.rng.integers(len(content))])
    else:
        path.unlink()
    finish(bench, train_words(workdir))
    same_training(bench, workdir)
    return 1


def fill_disk(bench: Bench) -> int:
    """No file may grow beyond a random size, as on a full disk; then room again."""
    workdir = bench.fresh() / "run"
    blocks = int(2 ** bench.rng.uniform(1, 7))
    words = " ".join(train_words(workdir))
    line = f"ulimit -f {blocks}; exec {sys.executable} -m {words}"
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": ""}
    with bench.log.open("a") as log:
        done = subprocess.run(
            ["bash", "-c", line],
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd=commands.ROOT,
            env=environment,
        )
    require(done.returncode in (0, 1, 153), f"status {done.returncode}", bench)
    finish(bench, train_words(workdir))
    same_training(bench, workdir)
    return 1


def second_writer(bench: Bench) -> int:
    """A second process on the workdir of a running one is refused."""
    workdir = bench.fresh() / "run"
    first = commands.start(train_words(workdir), bench.log)
    while not (workdir / "train.lock").exists() and first.is_alive():
        time.sleep(0.01)
    time.sleep(bench.rng.uniform(0, bench.seconds / 4))
    if not first.is_alive():
        return 0
    second = commands.finish(commands.start(train_words(workdir), bench.log))
    require(
        second == 1 and "is in use by" in bench.log.read_text(), "not refused", bench
    )
    require(commands.finish(first) == 0, "the first failed", bench)
    same_training(bench, workdir)
    return 1


def spoil_numbers(bench: Bench) -> int:
    """A NaN in one loss or gradient: one step is skipped, and all is finite."""
    workdir, at = bench.fresh() / "run", int(bench.rng.integers(0, STAGES["num_steps"]))
    what = str(bench.rng.choice(["loss", "gradient"]))
    config = f"--config=tests/spoiled_run.py:{what}@{at}"
    finish(bench, ["experiments.train", config, f"--workdir={workdir}", *LONGER])
    lines = (workdir / "lsgm" / "metrics.jsonl").read_text().splitlines()
    skipped = [r["skipped"] for r in map(json.loads, lines) if "skipped" in r]
    require(sum(skipped) * STAGES["log_every"] == 1, f"skipped {skipped}", bench)
    tree = read(
        workdir / "lsgm" / "checkpoints" / str(STAGES["num_steps"]),
        ("params", "ema", "opt"),
    )
    right = all(np.isfinite(a).all() for a in flat(tree).values())
    require(right, "numbers that are not finite", bench)
    return 1


def kill_host(bench: Bench) -> int:
    """One of two processes killed: the other ends and names it; then both again."""
    workdir = bench.fresh() / "run"

    def start() -> list:
        with socket.socket() as opened:
            opened.bind(("localhost", 0))
            port = opened.getsockname()[1]
        place = [
            f"--coordinator=localhost:{port}",
            "--num_processes=2",
            "--distributed",
        ]
        one = {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
        return [
            commands.start(
                train_words(workdir, *place, f"--process_id={i}"), bench.log, one
            )
            for i in range(2)
        ]

    pair, after = start(), int(bench.rng.integers(1, 4)) * STAGES["checkpoint_every"]
    saved = workdir / "vae" / "checkpoints" / str(after)
    while not saved.exists() and all(host.is_alive() for host in pair):
        time.sleep(0.01)
    pair[1].kill()
    status = commands.finish(pair[0])
    # The run may have been about to end its stage: then the next one stops it too.
    require(status == LOST_PEER, f"the other ended with {status}", bench)
    require([commands.finish(h) for h in start()] == [0, 0], "not resumed", bench)
    return 1


# Each with its share of all faults.
SCENARIOS: dict[str, tuple[Callable[[Bench], int], float]] = {
    "kill in training": (kill_training, 0.4),
    "kill in a save": (kill_saving, 0.12),
    "kill in an evaluation": (kill_evaluation, 0.1),
    "kill in a preparation": (kill_preparation, 0.1),
    "kill in a study": (kill_study, 0.05),
    "damaged checkpoint": (damage_storage, 0.08),
    "full disk": (fill_disk, 0.04),
    "two writers": (second_writer, 0.04),
    "NaN in loss or gradient": (spoil_numbers, 0.04),
    "dead host": (kill_host, 0.03),
}

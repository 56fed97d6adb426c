"""Records: what is written is what is read, also after a kill and a resume."""

import json
import math
import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto import event_pb2

from lsgm.training import writers
from lsgm.training.records import read_records
from lsgm.training.writers import TrainingProgress, Writers

FILES = ("metrics.jsonl", "timing.jsonl")


def run(folder: pathlib.Path, start: int, stop: int, num_steps: int = 8) -> None:
    """What a loop writes that logs every second step."""
    with Writers(folder, "vae", start, num_steps) as opened:
        for step in range(start + 1, stop + 1):
            opened.advance(step)
            if step % 2 == 0:
                opened.scalars(step, {"nelbo": 1 / step, "skipped": 0.0})
                opened.rate(step)
            if step % 4 == 0:
                opened.scalars(step, {"held_out/nelbo": 2 / step})
                opened.picture(step, "samples", picture(step))


def picture(step: int, channels: int = 1) -> np.ndarray:
    return np.full((4, 6, channels), 20 * step, np.uint8)


def events(folder: pathlib.Path) -> list:
    """All events of a folder, files in the order of their making, each event's
    length in front of it (TFRecord)."""
    found = []
    for path in sorted((folder / "events").iterdir(), key=os.path.getmtime):
        content, at = path.read_bytes(), 0
        while at < len(content):
            size = int.from_bytes(content[at : at + 8], "little")
            message = content[at + 12 : at + 12 + size]
            found.append(event_pb2.Event.FromString(message))
            at += size + 16
    return found


def test_records_hold_step_and_values(tmp_path):
    run(tmp_path, 0, 4)
    assert read_records(tmp_path / "metrics.jsonl") == [
        {"step": 2, "nelbo": 0.5, "skipped": 0.0},
        {"step": 4, "nelbo": 0.25, "skipped": 0.0},
        {"step": 4, "held_out/nelbo": 0.5},
    ]
    timing = read_records(tmp_path / "timing.jsonl")
    assert [record["step"] for record in timing] == [2, 4]
    assert all(record["steps_per_second"] > 0 for record in timing)


def test_resumed_run_leaves_the_records_of_the_uninterrupted_one(tmp_path):
    """Killed after step 6, resumed from the checkpoint of step 3."""
    run(tmp_path / "whole", 0, 8)
    run(tmp_path / "resumed", 0, 6)
    run(tmp_path / "resumed", 3, 8)
    whole, resumed = (
        tmp_path / name / "metrics.jsonl" for name in ("whole", "resumed")
    )
    assert resumed.read_bytes() == whole.read_bytes()
    pictures = sorted(p.name for p in (tmp_path / "resumed/samples").iterdir())
    assert pictures == ["00000004.png", "00000008.png"]


@pytest.mark.parametrize("cut", range(1, 12, 3))
def test_line_cut_by_a_kill_is_left_out_and_written_again(tmp_path, cut):
    path = tmp_path / "metrics.jsonl"
    run(tmp_path, 0, 8)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert len(read_records(path)) == len(read_records_of(whole)) - (cut > 1)
    run(tmp_path, 6, 8)
    assert path.read_bytes() == whole


def read_records_of(content: bytes) -> list:
    return [json.loads(line) for line in content.decode().splitlines()]


def test_starting_anew_drops_all_records(tmp_path):
    run(tmp_path, 0, 8)
    run(tmp_path, 0, 2)
    assert [r["step"] for r in read_records(tmp_path / "metrics.jsonl")] == [2]


def test_numbers_survive_exactly(tmp_path):
    values = {"a": 0.1 + 0.2, "b": float(np.float32(1) / 3), "c": 1e-310, "d": math.inf}
    with Writers(tmp_path, "vae", 0, 1) as opened:
        opened.scalars(1, values)
    assert read_records(tmp_path / "metrics.jsonl") == [{"step": 1, **values}]


def test_each_record_is_on_disk_when_the_call_returns(tmp_path):
    with Writers(tmp_path, "vae", 0, 4) as opened:
        opened.scalars(1, {"nelbo": 1.0})
        assert read_records(tmp_path / "metrics.jsonl") == [{"step": 1, "nelbo": 1.0}]
        assert [e.step for e in events(tmp_path) if e.summary.value] == [1]


def test_tensorboard_shows_what_the_records_say(tmp_path):
    run(tmp_path, 0, 4)
    seen = [
        (event.step, value.tag, value.simple_value)
        for event in events(tmp_path)
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    ]
    assert (4, "nelbo", 0.25) in seen and (4, "held_out/nelbo", 0.5) in seen
    images = [v for e in events(tmp_path) for v in e.summary.value if v.image.height]
    assert [(v.tag, v.image.height, v.image.width) for v in images] == [
        ("samples", 4, 6)
    ]


def test_tensorboard_is_told_what_a_resumed_run_takes_back(tmp_path):
    run(tmp_path, 0, 8)
    run(tmp_path, 4, 8)
    starts = [e.step for e in events(tmp_path) if e.WhichOneof("what") == "session_log"]
    assert starts == [1, 5]


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_png_files_of_the_same_pixels(tmp_path, channels):
    with Writers(tmp_path, "vae", 0, 4) as opened:
        opened.picture(3, "samples", picture(3, channels))
    image = np.asarray(Image.open(tmp_path / "samples/00000003.png"))
    np.testing.assert_array_equal(image.reshape(4, 6, channels), picture(3, channels))


def test_full_disk_is_an_error_in_words_and_not_a_standstill(tmp_path):
    """No file may grow beyond 20 kB. In a process of its own: the limit is."""
    code = """
    import pathlib, resource, sys
    from lsgm.training.writers import WriteError, Writers
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    try:
        with Writers(pathlib.Path(sys.argv[1]), "vae", 0, 10**6) as opened:
            for step in range(1, 10**6):
                opened.scalars(step, {"nelbo": 1.0})
    except WriteError as error:
        print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        cwd=pathlib.Path(__file__).parents[2],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "cannot write the records of step" in done.stdout, done.stderr
    assert read_records(tmp_path / "metrics.jsonl")[0] == {"step": 1, "nelbo": 1.0}


@pytest.fixture
def clock(monkeypatch):
    """Time that moves only when told to."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(writers.time, "monotonic", lambda: Clock.now)
    return Clock


def test_without_a_terminal_a_plain_line_comes_every_so_often(clock, capsys):
    progress = TrainingProgress("lsgm", 100, 1000)
    for step in range(101, 201):
        # The first step compiles for a minute, each later one takes a second.
        clock.now += 60 if step == 101 else 1
        progress.advance(step)
        progress.show({"nelbo": 98.4})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lsgm step 100/1000  compiling"
    assert lines[1] == "lsgm step 101/1000"
    assert lines[-1] == "lsgm step 200/1000  1.00 steps/s  ETA 13:20  nelbo 98.40"
    assert len(lines) == 2 + 9


def test_last_step_is_shown(clock, capsys):
    progress = TrainingProgress("vae", 0, 2)
    for step in (1, 2):
        clock.now += 0.5
        progress.advance(step)
    assert "vae step 2/2  2.00 steps/s  ETA 00:00" in capsys.readouterr().out

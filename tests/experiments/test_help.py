"""Every command says what it does, with examples and all of its flags."""

import pathlib
import subprocess
import sys

import pytest

from tests.commands import ROOT

COMMANDS = sorted(
    path.stem
    for path in (ROOT / "experiments").glob("*.py")
    if "    app.run(main" in path.read_text()
)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_and_every_flag(name):
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"python -m experiments.{name} " in done.stdout.partition("Flags:")[0]
    shared = (
        ("checkpoint", "trust") if name in ("sample", "evaluate", "explore") else ()
    )
    for flag in shared:
        assert f"  --{flag}  " in done.stdout
    assert "--helpfull" not in done.stdout and "logtostderr" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 90


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("train", "--config, --workdir"),
        ("export_checkpoint", "--checkpoint, --to"),
        ("prepare_data", "--name"),
    ],
)
def test_missing_flags_are_told_in_one_line(name, missing):
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}"],
        cwd=pathlib.Path(ROOT),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == f"error: missing {missing}; --help says what they are\n"

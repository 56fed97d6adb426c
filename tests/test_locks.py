"""One process at a time, and no lock outlives its holder."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

from lsgm.locks import FolderError, InUseError, find_abandoned, lock_file

HOLD = """
import sys, time, pathlib
from lsgm.locks import lock_file
with lock_file(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds ``tmp_path / "a.lock"``."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path / "a.lock")],
        cwd=pathlib.Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_second_process_is_refused_by_name_of_the_first(tmp_path, holder):
    with pytest.raises(InUseError) as error, lock_file(tmp_path / "a.lock"):
        pass
    assert f"{tmp_path} is in use by process {holder.pid} on " in str(error.value)
    with lock_file(tmp_path / "b.lock"):
        pass  # Another purpose.


def test_lock_ends_with_its_block(tmp_path, holder):
    holder.communicate("")
    assert not list(tmp_path.iterdir())
    with lock_file(tmp_path / "a.lock"):
        holding = json.loads((tmp_path / "a.lock").read_text())
        assert holding["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_lock_of_a_killed_process_is_stale(tmp_path, holder, capsys):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "a.lock").exists()
    with lock_file(tmp_path / "a.lock"):
        pass
    assert capsys.readouterr().err == ""


def test_a_lock_is_abandoned_by_a_holder_that_died_and_by_no_other(tmp_path, holder):
    path = tmp_path / "a.lock"
    assert find_abandoned(path) is None
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert find_abandoned(path).startswith(f"process {holder.pid} on ")
    path.unlink()
    assert find_abandoned(path) is None


@pytest.mark.parametrize("leaves", [True, False])
def test_a_lock_is_left_on_an_error_where_that_is_asked_for(tmp_path, leaves):
    path = tmp_path / "a.lock"
    with pytest.raises(KeyError), lock_file(path, left_on_error=leaves):
        raise KeyError
    assert path.exists() == leaves
    with lock_file(path, left_on_error=leaves):
        pass
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\0\0"])
def test_damaged_lock_file_locks_nothing(tmp_path, content):
    (tmp_path / "a.lock").write_text(content)
    with lock_file(tmp_path / "a.lock"):
        pass


def test_file_left_by_another_host_is_told(tmp_path, capsys):
    left = {"host": "elsewhere", "pid": 7, "since": "yesterday", "command": "train"}
    (tmp_path / "a.lock").write_text(json.dumps(left))
    with lock_file(tmp_path / "a.lock"):
        pass
    assert "left by process 7 on elsewhere" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named():
    """Root may write anywhere but where the file system itself refuses."""
    with (
        pytest.raises(FolderError, match="/proc/x cannot be written to"),
        lock_file(pathlib.Path("/proc/x/a.lock")),
    ):
        pass

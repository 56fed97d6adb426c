"""Output that nobody reads stops nothing."""

import pathlib
import subprocess
import sys
import textwrap

import pytest

CODE = """
import os, sys
import tqdm
from lsgm.terminal import forgive_output, warn
forgive_output()
read_end, write_end = os.pipe()
os.close(read_end)
for stream in (1, 2):
    os.dup2(write_end, stream) if sys.argv[1] == "broken" else os.close(stream)
for _ in range(3):
    print("progress" * 10_000, flush=True)
    warn("a warning")
for _ in tqdm.tqdm(range(3), mininterval=0):
    pass
open(sys.argv[2], "w").write("done")
print("left in the buffer")
"""


@pytest.mark.parametrize("kind", ["broken", "closed"])
def test_broken_and_closed_streams_are_forgiven(tmp_path, kind):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CODE), kind, tmp_path / "end"],
        cwd=pathlib.Path(__file__).parents[1],
        timeout=60,
    )
    assert (tmp_path / "end").read_text() == "done"
    assert done.returncode == 0


def test_process_without_streams(tmp_path):
    """As ``>&-`` leaves it."""
    code = "from lsgm.terminal import *; forgive_output(); print(1); warn('2')"
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" >&- 2>&-', sys.executable, code],
        cwd=pathlib.Path(__file__).parents[1],
        timeout=60,
    )
    assert done.returncode == 0

"""Folders on the command line: used as named, or refused before anything is done."""

import os
import pathlib

import pytest

from experiments import path_flags
from experiments.path_flags import PathParser


@pytest.mark.parametrize("writes", [False, True])
def test_paths_are_taken_as_they_are_but_for_the_home_folder(tmp_path, writes):
    parse = PathParser(writes).parse
    assert parse(f"{tmp_path}/a/b") == tmp_path / "a" / "b"
    assert not (tmp_path / "a").exists()
    assert PathParser(False).parse("~/run") == pathlib.Path.home() / "run"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("gs://bucket/run", "a URL, which is not read"),
        ("~nobody_of_this_name/run", "write the folder out"),
        ("{file}", "file is a file; name a folder"),
        ("{file}/run", "file is a file; name a folder"),
        ("{long}", "File name too long; name another folder"),
    ],
)
def test_what_cannot_be_written_into_is_refused(tmp_path, text, said):
    (tmp_path / "file").touch()
    text = text.format(file=tmp_path / "file", long=tmp_path / ("a" * 300))
    with pytest.raises(ValueError, match=said):
        PathParser(True).parse(text)


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    """The superuser may write anywhere but on a file system that is read only."""
    asked = []

    def access(path, mode):
        asked.append((path, mode))
        return False

    monkeypatch.setattr(path_flags.os, "access", access)
    with pytest.raises(ValueError, match="cannot be written to; name another folder"):
        PathParser(True).parse(f"{tmp_path}/run")
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]

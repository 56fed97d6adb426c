"""Walks: each real file once, each real folder once, links told."""

import os

import pytest

from lsgm.data.errors import DataError
from lsgm.data.sources.tree import walk


def png_files(path):
    return path.is_file() and path.suffix == ".png"


@pytest.fixture
def root(tmp_path):
    """Two pictures, a text, and a hidden picture."""
    folder = tmp_path / "set"
    (folder / "a").mkdir(parents=True)
    (folder / ".cache").mkdir()
    for name in ("0.png", "a/1.png", "a/notes.txt", ".cache/2.png", "README"):
        (folder / name).write_text(name)
    return folder


def test_plain(root):
    found = walk(root, png_files)
    assert found.taken == ("0.png", "a/1.png")
    assert found.folders == {"", "a"}
    assert found.left_out == {".txt": 1, "without suffix": 1}
    assert found.notes() == ["left out, by suffix: 1 .txt, 1 without suffix"]


@pytest.mark.parametrize("link", ["all", "a/all"])
@pytest.mark.parametrize("target", [".", "..", "../a"])
def test_links_to_what_is_read_already(root, link, target):
    (root / link).symlink_to((root / link).parent / target)
    found = walk(root, png_files)
    assert found.taken == ("0.png", "a/1.png") and len(found.links) == 1
    assert found.links[0].startswith(f"{link} -> ")
    assert "1 links not followed" in found.notes()[-1]


def test_a_file_goes_by_its_own_name(root):
    """Also where the link comes first; two links to one file outside are one."""
    (root / "0-link.png").symlink_to("a/1.png")
    os.link(root / "0.png", root / "hard.png")
    outside = root.parent / "far.png"
    outside.write_text("far")
    for name in ("x.png", "y.png"):
        (root / name).symlink_to(outside)
    (root / "broken.png").symlink_to("gone.png")
    found = walk(root, png_files)
    assert found.taken == ("0.png", "a/1.png", "x.png")
    assert found.links == (
        "hard.png is 0.png",
        "0-link.png -> a/1.png is a/1.png",
        "broken.png -> gone.png leads nowhere",
        f"y.png -> {outside} is x.png",
    )


def test_a_linked_folder_is_read_once(root):
    """As split folders often are links; two folders that hold one another end."""
    far = root.parent / "far"
    far.mkdir()
    (far / "3.png").write_text("3")
    (far / "back").symlink_to(root / "a")
    (root / "train").symlink_to(far)
    (root / "twice").symlink_to(far)
    found = walk(root, png_files)
    assert found.taken == ("0.png", "a/1.png", "train/3.png")
    assert [link.split(" -> ")[0] for link in found.links] == ["twice", "train/back"]


def test_pipes_are_no_pictures(root):
    os.mkfifo(root / "z.png")
    assert walk(root, png_files).left_out[".png (no regular file)"] == 1


def test_unreadable_folders_are_told(root, monkeypatch):
    def scandir(path, real=os.scandir):
        if path == root / "a":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match="/a.*unreadable folder: Permission denied"):
        walk(root, png_files)

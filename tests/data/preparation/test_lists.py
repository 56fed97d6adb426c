"""Lists as other systems write them name the same files."""

import codecs

import pytest

from lsgm.data.preparation.lists import read_list
from lsgm.data.preparation.split import listed
from lsgm.data.sources.image_folder import FolderExamples

TEXT = "a/caf\u00e9.png\nb/2.png\n"
WAYS = {
    "plain": TEXT.encode(),
    "mark": codecs.BOM_UTF8 + TEXT.encode(),
    "utf16": TEXT.encode("utf-16"),
    "utf16be": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf32": TEXT.encode("utf-32"),
    "windows": TEXT.replace("/", "\\").replace("\n", "\r\n").encode(),
    "old mac": TEXT.replace("\n", "\r").encode(),
    "decomposed": TEXT.replace("\u00e9", "e\u0301").encode(),
    "relative": ("./" + TEXT.replace("b/", "./b/")).encode(),
    "spaces": ("  " + TEXT.replace("\n", " \n\n")).encode(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stored", ["caf\u00e9.png", "cafe\u0301.png"])
def test_lists_of_any_origin(way, stored, tmp_path):
    (tmp_path / "list.txt").write_bytes(WAYS[way])
    paths = (f"/d/a/{stored}", "/d/b/1.png", "/d/b/2.png", "/d/c/2.png")
    folder = FolderExamples(paths=paths, labels=None)
    parts = listed(folder, {"test": read_list(tmp_path / "list.txt")})
    assert parts["test"].indices.tolist() == [0, 2]


def test_names_that_differ_in_their_form_alone():
    names = ("/d/caf\u00e9.png", "/d/cafe\u0301.png")
    folder = FolderExamples(paths=names, labels=None)
    for i, name in enumerate(names):
        assert listed(folder, {"a": [name[3:]]})["a"].indices.tolist() == [i]


@pytest.mark.parametrize(
    "raw",
    [TEXT.encode("latin-1"), TEXT.encode("utf-16-le"), codecs.BOM_UTF16_LE + b"a"],
)
def test_no_text(raw, tmp_path):
    (tmp_path / "list.txt").write_bytes(raw)
    with pytest.raises(ValueError, match=r"list\.txt is no text in"):
        read_list(tmp_path / "list.txt")

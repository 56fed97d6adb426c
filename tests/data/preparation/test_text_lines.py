"""Lines of a file, and WordNet's, to splits of texts."""

import io
import json
import tarfile

import pytest

from lsgm.data.errors import DataError
from lsgm.data.preparation import text_lines, wordnet
from lsgm.data.sources.text_folder import TextFolder
from tests import commands


def test_bad_lines_are_listed_and_good_ones_kept(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes(
        b"\xef\xbb\xbffirst\n  two words \n\nfirst\n\xff\nmuch too long a line\n"
        b"a\tb\tc\nnoun\tdog\nbell\x07\n"
    )
    found = text_lines.read_lines(path, longest=12)
    assert found.classes == {"first": "", "two words": "", "dog": "noun"}
    assert found.copies == 1
    assert found.bad == [
        (3, "empty"),
        (5, "not UTF-8"),
        (6, "20 characters"),
        (7, "two tabs"),
        (9, "has '\\x07'"),
    ]
    only = text_lines.read_lines(path, longest=12, alphabet="firstdog")
    assert list(only.classes) == ["first", "dog"]
    assert (2, "has 'w'") in only.bad


def test_division_is_by_hash_and_stays():
    classes = {f"text {i}": "" for i in range(100)}
    sizes = {"test": 10, "validation": 20}
    parts = text_lines.divide(classes, sizes)
    assert {split: len(part) for split, part in parts.items()} == sizes | {"train": 70}
    assert sorted(sum(parts.values(), [])) == sorted(classes)
    backwards = dict(reversed(classes.items()))
    assert text_lines.divide(backwards, sizes) == parts
    with pytest.raises(ValueError, match="leave none to train"):
        text_lines.divide(classes, {"test": 100})


def test_an_alphabet_of_more_than_bytes_is_refused():
    texts = [chr(0x4E00 + i) for i in range(300)]
    assert text_lines.alphabet_of("ba c") == " abc"
    with pytest.raises(ValueError, match="300 different characters, at most 255"):
        text_lines.alphabet_of(texts)


def test_the_command_writes_what_the_source_reads(tmp_path):
    lines = tmp_path / "names.txt"
    lines.write_text("".join(f"name {i}\n" for i in range(20)) + "\nname 3\n")
    where = ("--name=names", f"--data_dir={tmp_path}")
    words = ["experiments.prepare_data", *where]
    make = (*words, "--from=text", f"--root={lines}", "--hold_out=test=10%")
    said = commands.run(make, tmp_path / "log")
    for expected in (
        "line 21, left out: empty",
        "1 copies",
        "test: 2 texts",
        "train: 18 texts",
        "alphabet=' 0123456789aemn', num_classes=16",
        "length at least 8",
    ):
        assert expected in said
    folder = tmp_path / "names" / "1.0.0"
    source = TextFolder(root=str(folder))
    found = {*source.open("train").texts, *source.open("test").texts}
    assert found == {f"name {i}" for i in range(20)}
    assert json.loads((folder / "preparation.json").read_text())["copies"] == 1
    assert "as prepared" in commands.run([*words, "--verify"], tmp_path / "log2")
    (folder / "test.txt").write_text("changed\n")
    assert text_lines.verify(folder) == ["test.txt has changed"]
    again = commands.start(make, tmp_path / "log3")
    assert commands.finish(again) == 1
    assert "is there already" in (tmp_path / "log3").read_text()


@pytest.mark.parametrize(
    "line, gloss",
    [
        ('0 | a Small dog (or two) ; nice: "what a dog"', "a small dog; nice"),
        ("0 | of or relating to  dogs; ", "of or relating to dogs"),
        ("0 | too short", None),
        ("0 | has 3 digits in its text", None),
        ("0 | an offensive word for something", None),
        ("0 | " + 64 * "a", None),
        ("no gloss here at all", None),
    ],
)
def test_rules_of_glosses(line, gloss):
    assert wordnet.clean(line) == gloss


def test_glosses_from_archive_and_folder(tmp_path):
    path = tmp_path / "w.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in wordnet.FILES:
            text = f"  licence | of this very file\n1 | the gloss of {name} files\n"
            text += "2 | one gloss that is everywhere\n"
            info = tarfile.TarInfo(f"package/dict/data.{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
            (tmp_path / f"data.{name}").write_text(text)
    found = wordnet.read_glosses(path)
    assert len(found) == 5 and found["one gloss that is everywhere"] == "a"
    assert found["the gloss of adv files"] == "r"
    assert wordnet.read_glosses(tmp_path) == found
    with pytest.raises(DataError, match="neither a folder nor an archive"):
        wordnet.read_glosses(tmp_path / "none")
    (tmp_path / "data.verb").unlink()
    with pytest.raises(DataError, match="has no data.verb"):
        wordnet.read_glosses(tmp_path)

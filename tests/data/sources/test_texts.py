"""Sources of texts: the embedded glosses, and folders of lines."""

import hashlib
import lzma

import numpy as np
import pytest

from configs.text import recipe
from lsgm.data.errors import DataError
from lsgm.data.sources.glosses import CLASSES, FOLDER, Glosses
from lsgm.data.sources.text_folder import TextFolder
from lsgm.data.texts import Texts, TextSource

NUMBERS = {"n": 44_371, "a": 15_245, "v": 11_964, "r": 3_320}


def test_glosses_are_whole_and_of_known_origin():
    content = lzma.open(FOLDER / "glosses.tsv.xz").read()
    digest = hashlib.sha256(content).hexdigest()
    assert digest.startswith("d8616931a80b0289")
    assert digest in (FOLDER / "README.md").read_text()
    assert "Princeton University" in (FOLDER / "LICENSE").read_text()
    opened = {split: Glosses().open(split) for split in Glosses().splits()}
    sizes = {split: len(found.texts) for split, found in opened.items()}
    assert sizes == {"train": 66_900, "validation": 4_000, "test": 4_000}
    texts = [text for found in opened.values() for text in found.texts]
    assert len(set(texts)) == 74_900
    labels = np.concatenate([found.labels for found in opened.values()])
    counts = dict(zip(CLASSES, np.bincount(labels).tolist(), strict=True))
    assert counts == NUMBERS


def test_glosses_are_made_of_the_alphabet_of_their_config():
    data = Texts(source=Glosses(), alphabet=recipe.GLOSSES_ALPHABET, length=64)
    assert data.classes == 32 and data.num_examples("test") == 4_000
    units = data.units({"levels": data.open("test").codes})
    assert units.mean() == pytest.approx(38.04, abs=0.3) and units.max() == 64
    assert data.example("test", 0)["label"].dtype == np.int32
    assert data.texts("test") == list(Glosses().open("test").texts)


def test_a_folder_of_lines(tmp_path):
    (tmp_path / "train.txt").write_text("one\nzwö\nthree\n", "utf-8")
    (tmp_path / "test.txt").write_text("four", "utf-8")
    source = TextFolder(root=str(tmp_path))
    assert isinstance(source, TextSource) and source.splits() == ("train", "test")
    found = source.open("train")
    assert list(found.texts) == ["one", "zwö", "three"] and found.labels is None
    assert list(source.open("test").texts) == ["four"]
    with pytest.raises(DataError, match="has no split 'validation'"):
        source.open("validation")


def test_classes_are_numbered_by_those_of_train(tmp_path):
    (tmp_path / "train.txt").write_text("noun\tdog\nadverb\toften\n")
    (tmp_path / "test.txt").write_text("noun\tcat\n")
    source = TextFolder(root=str(tmp_path))
    np.testing.assert_array_equal(source.open("train").labels, [1, 0])
    np.testing.assert_array_equal(source.open("test").labels, [1])
    (tmp_path / "test.txt").write_text("noun\tcat\ndogs\n")
    with pytest.raises(DataError, match=r"line 2, 'dogs': expected a class \(adverb"):
        source.open("test")


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="none of train.txt, validation.txt"):
        TextFolder(root=str(tmp_path)).open("train")
    (tmp_path / "train.txt").write_bytes(b"a\xff\n")
    with pytest.raises(DataError, match="utf-8"):
        TextFolder(root=str(tmp_path)).open("train")
    (tmp_path / "train.txt").write_bytes(b"")
    with pytest.raises(DataError, match="holds no line"):
        TextFolder(root=str(tmp_path)).open("train")

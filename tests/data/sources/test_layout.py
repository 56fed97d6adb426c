"""Splits by names of folders and files: one vocabulary, in any case."""

import dataclasses
import io
import zipfile

import pytest
from PIL import Image

from lsgm.data.errors import DataError
from lsgm.data.sources.image_folder import ImageFolder
from lsgm.data.sources.image_zip import ImageZip
from lsgm.data.sources.layout import WORDS, files_by_split, split_name

CASES = [
    ("Train/1.png TEST/1.png", {"train": 1, "test": 1}),
    ("train/1.png val/1.png val/2.png", {"train": 1, "validation": 2}),
    ("training/1.png valid/1.png Dev/1.png", {"train": 1, "validation": 2}),
    ("train/1.png Testing/a/1.png more/1.png", {"train": 1, "test": 1}),
]
HIDDEN = [
    "faces/Train/1.png faces/Test/1.png other/1.png",
    "train2017/1.png val2017/1.png",
    "train/1.png test-set/1.png",
    "train_1.png test_1.png",
]


def png():
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    return file.getvalue()


def folder(root, paths):
    for path in paths.split():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(png())
    return ImageFolder(root=str(root))


def archive(root, paths):
    with zipfile.ZipFile(root / "a.zip", "w") as file:
        for path in paths.split():
            file.writestr(path, png())
    return ImageZip(root=str(root / "a.zip"))


def archive_of_windows(root, paths):
    return archive(root, paths.replace("/", "\\"))


@pytest.mark.parametrize("write", [folder, archive, archive_of_windows])
@pytest.mark.parametrize("paths, counts", CASES)
def test_names_of_splits(write, paths, counts, tmp_path):
    source = write(tmp_path, paths)
    assert {s: len(source.open(s)) for s in source.splits()} == counts


@pytest.mark.parametrize("write", [folder, archive])
@pytest.mark.parametrize("paths", HIDDEN)
def test_what_looks_like_a_split_is_refused(write, paths, tmp_path):
    source = write(tmp_path, paths)
    with pytest.raises(DataError, match="looks like a split.*flat = True"):
        source.splits()
    flat = dataclasses.replace(source, flat=True)
    assert len(flat.open("train")) == len(paths.split())


@pytest.mark.parametrize("write", [folder, archive])
def test_notes(write, tmp_path):
    """Merged folders, and images that no split uses, with their numbers."""
    paths = "train/1.png val/1.png val/2.png valid/1.png 0.png more/a/1.png"
    assert write(tmp_path, paths).notes() == [
        "validation is made of 2 in val, 1 in valid",
        "images in no folder of a split, not used: 1 in ., 1 in more",
    ]


@pytest.mark.parametrize("write", [folder, archive])
def test_classes_of_merged_folders(write, tmp_path):
    source = write(tmp_path, "train/a/1.png Val/b/1.png valid/b/1.png more/0/1.png")
    source = dataclasses.replace(source, labels=True)
    assert source.classes() == ("a", "b")
    assert source.open("validation").labels.tolist() == [1, 1]


@pytest.mark.parametrize("word", WORDS)
def test_every_word_names_files_and_folders(word, tmp_path):
    for name in (word, word.upper(), word.title()):
        assert split_name(name) == WORDS[word]
        file = tmp_path / f"{name}-0.tfrecord"
        file.write_bytes(b"")
        found = files_by_split(file, lambda path: path.is_file(), flat=False)
        assert found == {WORDS[word]: [str(file)]}


def test_a_file_of_two_splits(tmp_path):
    (tmp_path / "train_val.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="several splits, train, validation"):
        files_by_split(tmp_path, lambda path: path.is_file(), flat=False)

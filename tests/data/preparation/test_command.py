"""``prepare_data``: what it takes for a split, what it refuses, and what it tells."""

import json

import numpy as np
import pytest
from PIL import Image

from tests import commands


@pytest.fixture
def prepare(tmp_path):
    """``prepare(root, *flags)``: exit status and output of the command."""

    def run(root, *flags):
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        where = (f"--root={root}", "--name=a", f"--data_dir={tmp_path / 'sets'}")
        words = ["experiments.prepare_data", "--from=folder", *where, *flags]
        return commands.finish(commands.start(words, log)), log.read_text()

    return run


def images(root, **counts):
    """So many different 4x4 images in each folder below ``root``."""
    value = 0
    for folder, count in counts.items():
        place = root / folder.replace("__", "/")
        place.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            image = Image.fromarray(np.full((4, 4, 3), value, np.uint8))
            image.save(place / f"{i}.png")
            value += 1
    return root


def record(tmp_path):
    return json.loads(
        (tmp_path / "sets" / "a" / "1.0.0" / "preparation.json").read_text()
    )


def sizes(tmp_path):
    splits = record(tmp_path)["splits"]
    return {split: about["num_examples"] for split, about in splits.items()}


def test_capital_splits_are_splits(prepare, tmp_path):
    """The test images stay out of what is divided."""
    root = images(tmp_path / "r", Train=10, Test=3, extra=2)
    status, said = prepare(root, "--hold_out=val=0.2")
    assert status == 0, said
    assert sizes(tmp_path) == {"train": 8, "validation": 2, "test": 3}
    note = "images in no folder of a split, not used: 2 in extra"
    assert note in said and record(tmp_path)["notes"] == [note]


def test_what_looks_like_a_split_is_not_flattened(prepare, tmp_path):
    """Unless the user says so, and then the command says of what it is made."""
    root = images(tmp_path / "r", faces__train=3, faces__test=2)
    status, said = prepare(root, "--hold_out=validation=0.2")
    assert status == 1 and "'faces/test' looks like a split" in said
    assert "--flat takes all as train" in said and "Traceback" not in said
    status, said = prepare(root / "faces", "--hold_out=validation=0.2", "--flat")
    assert status == 0 and "train is made of 3 in train, 2 in test" in said
    assert sizes(tmp_path) == {"train": 4, "validation": 1}


def test_a_link_to_the_folder_itself(prepare, tmp_path):
    """Four pictures stay four."""
    root = images(tmp_path / "r", a=4)
    (root / "all").symlink_to(".")
    status, said = prepare(root, "--hold_out=test=0.25")
    assert status == 0 and "all -> . holds this folder itself" in said
    assert sizes(tmp_path) == {"train": 3, "test": 1}


def test_copies_across_splits_are_told(prepare, tmp_path):
    root = images(tmp_path / "r", train=4, test=2)
    (root / "test" / "9.png").write_bytes((root / "train" / "0.png").read_bytes())
    status, said = prepare(root, "--near_duplicates")
    assert status == 0 and "1 images of test in train (same pixels)" in said
    found = record(tmp_path)
    assert found["duplicates"] == {"within": {}, "across": {"test in train": 1}}
    # Plain pictures have no gradient: all of them are near to each other.
    assert found["near_duplicates"]["across"] == {"test in train": 3}


def test_small_pictures_are_not_enlarged_unasked(prepare, tmp_path):
    root = images(tmp_path / "r", train=2)
    flags = ("--image_shape=8,8,3", "--resize=box")
    status, said = prepare(root, *flags)
    assert status == 1 and "too small; --enlarge enlarges it" in said
    assert prepare(root, *flags, "--enlarge")[0] == 0


@pytest.mark.parametrize(
    "flag, words",
    [
        ("--first=train=3,test", "--first: 'test' is incomplete"),
        ("--first=train=3.5", "--first: train='3.5' is not a whole number"),
        ("--first=val=1,validation=2", "'validation=2' gives split 'validation' twice"),
        ("--hold_out=test=20", "test='20' is not a fraction, 0.2 or 20%"),
        ("--hold_out=test=nan", "test='nan' is not a fraction"),
        ("--image_shape=a,b,c", "three numbers, h,w,c"),
        ("--name=b", "--flat takes all as train"),
    ],
)
def test_wrong_rules(prepare, tmp_path, flag, words):
    """One line at the end, which names the flag."""
    root = images(tmp_path / "r", a=4)
    rule = () if flag.startswith(("--first", "--hold", "--name")) else ("--flat",)
    status, said = prepare(root, flag, *rule)
    assert status == 1 and words in said and "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: ")


def test_percent_and_lists(prepare, tmp_path):
    root = images(tmp_path / "r", a=10)
    assert prepare(root, "--hold_out=test=20%")[0] == 0
    assert sizes(tmp_path) == {"train": 8, "test": 2}
    (tmp_path / "l.txt").write_bytes("a\\3.png\r\na\\4.png".encode("utf-16"))
    status, said = prepare(root, f"--split_files=Test={tmp_path / 'l.txt'}", "--name=b")
    assert status == 0 and "test: 2 images" in said

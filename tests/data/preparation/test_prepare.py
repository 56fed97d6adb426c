"""Prepared sets: what goes in comes out, under any name, and never overwrites."""

import gzip
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lsgm.data.errors import DataError
from lsgm.data.fit import Fit
from lsgm.data.images import Images
from lsgm.data.preparation.prepare import prepare
from lsgm.data.preparation.split import hold_out
from lsgm.data.sources.arrays import ArrayExamples
from lsgm.data.sources.idx import IDX, parse
from lsgm.data.sources.tfds_source import TFDS

ROOT = Path(__file__).parents[3]
DIGITS = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1)).astype(np.uint8)
LABELS = np.arange(20) % 7


def examples(images=DIGITS, labels=LABELS):
    return ArrayExamples(images=images, labels=labels, place="memory")


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx_folder(tmp_path):
    """Test images plain, everything else gzipped."""
    folder = tmp_path / "idx"
    folder.mkdir()
    for split, part in (("train", slice(0, 12)), ("t10k", slice(12, 20))):
        for kind, array in (
            ("images-idx3", DIGITS[part, ..., 0]),
            ("labels-idx1", LABELS[part]),
        ):
            raw, name = idx_bytes(array), f"{split}-{kind}-ubyte"
            if (split, kind) == ("t10k", "images-idx3"):
                (folder / name).write_bytes(raw)
            else:
                (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
    return folder


def stored(source, split):
    """Images with labels, in an order of their own."""
    read = source.open(split)
    pairs = [
        (read[i]["image"].tobytes(), int(read[i]["label"])) for i in range(len(read))
    ]
    return sorted(pairs)


def pairs(images, labels):
    return sorted(
        (image.tobytes(), int(label))
        for image, label in zip(images, labels, strict=True)
    )


def test_idx_is_read(idx_folder):
    train, test = (IDX(root=str(idx_folder)).open(s) for s in ("train", "test"))
    np.testing.assert_array_equal(train.images, DIGITS[:12])
    np.testing.assert_array_equal(test.images, DIGITS[12:])
    np.testing.assert_array_equal(test.labels, LABELS[12:])
    data = Images(source=IDX(root=str(idx_folder)), image_shape=(28, 28, 1))
    assert data.train_batches(0, 4).batch(0)["levels"].shape == (4, 28, 28, 1)


def test_idx_errors(idx_folder):
    def fails(words):
        with pytest.raises(DataError, match=words) as error:
            IDX(root=str(idx_folder)).open("train")
        assert error.value.argument == "root"

    images = idx_folder / "train-images-idx3-ubyte.gz"
    labels = idx_folder / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(idx_bytes(LABELS[:5])))
    fails("5 labels for the 12 images")
    labels.write_bytes(labels.read_bytes()[:20])
    fails("train-labels-idx1-ubyte.gz.*unreadable")
    images.write_bytes(gzip.compress(idx_bytes(LABELS)))
    fails("train-images-idx3-ubyte.gz.*3 dimensions")
    images.unlink()
    fails("no train-images-idx3-ubyte or train-images-idx3-ubyte.gz")


@pytest.mark.parametrize("raw", [b"", b"\0\0\x08\x01", idx_bytes(LABELS)[:-1]])
def test_short_idx_is_refused(raw):
    with pytest.raises(ValueError, match="IDX|bytes"):
        parse(io.BytesIO(raw), len(raw), 1)


def test_round_trip(tmp_path):
    """Read by our source and by TFDS itself, under an official name."""
    splits = hold_out(examples(), {"test": 0.4}, seed=3)
    done = prepare(splits, name="mnist", version="3.0.1", data_dir=str(tmp_path))
    assert done.folder == tmp_path / "mnist" / "3.0.1"
    for split, part in splits.items():
        expected = pairs(DIGITS[part.indices], LABELS[part.indices])
        assert stored(TFDS(dataset="mnist", data_dir=str(tmp_path)), split) == expected
        official = tfds.data_source(
            "mnist", data_dir=tmp_path, split=split, download=False
        )
        images = [example["image"] for example in official]
        labels = [example["label"] for example in official]
        assert pairs(images, labels) == expected


def test_colour_without_labels_and_resized(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (3, 8, 12, 3)).astype(np.uint8)
    fit = Fit(image_shape=(4, 4, 3), grey=False, resize="box")
    splits = {"train": examples(images, None)}
    prepare(splits, name="art", data_dir=str(tmp_path), fit=fit)
    read = TFDS(dataset="art", data_dir=str(tmp_path)).open("train")
    assert not read.labelled and read.shape(0) == (4, 4, 3)
    expected = {fit(image, "x").tobytes() for image in images}
    assert {read[i]["image"].tobytes() for i in range(3)} == expected


def test_never_overwrites(tmp_path):
    splits = {"train": examples()}
    folder = prepare(splits, name="digits", data_dir=str(tmp_path)).folder
    before = {p: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(FileExistsError, match="digits/1.0.0"):
        prepare(
            {"train": examples(255 - DIGITS)}, name="digits", data_dir=str(tmp_path)
        )
    assert {p: p.read_bytes() for p in folder.iterdir()} == before
    prepare(splits, name="digits", data_dir=str(tmp_path), version="1.0.1")


def test_an_odd_image_is_named_and_leaves_nothing(tmp_path):
    class Odd(ArrayExamples):
        def __getitem__(self, i):
            example = super().__getitem__(i)
            return example | {"image": example["image"][: 28 - (i == 7)]}

    odd = Odd(images=DIGITS, labels=LABELS, place="memory")
    with pytest.raises(DataError, match=r"memory\[7\] is 27x28x1"):
        prepare({"train": odd}, name="digits", data_dir=str(tmp_path))
    assert not (tmp_path / "digits" / "1.0.0").exists()
    prepare({"train": examples()}, name="digits", data_dir=str(tmp_path))


def test_negative_labels(tmp_path):
    with pytest.raises(ValueError, match="negative"):
        splits = {"train": examples(labels=LABELS - 1)}
        prepare(splits, name="digits", data_dir=str(tmp_path))


@pytest.mark.parametrize("seed", [0, 1])
def test_hold_out_keeps_groups_together(seed):
    groups = np.random.default_rng(seed).integers(100, 110, 20)
    parts = hold_out(
        examples(), {"validation": 0.2, "test": 0.3}, groups=groups, seed=seed
    )
    assert list(parts) == ["train", "validation", "test"]
    indices = np.concatenate([part.indices for part in parts.values()])
    np.testing.assert_array_equal(np.sort(indices), np.arange(20))
    seen = [set(groups[part.indices].tolist()) for part in parts.values()]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    part = parts["test"]
    np.testing.assert_array_equal(part[0]["image"], DIGITS[part.indices[0]])
    assert part[0]["label"] == LABELS[part.indices[0]]
    assert part.name(0) == f"memory[{part.indices[0]}]"


def test_hold_out_leaves_something_everywhere():
    for fractions in ({"test": 0.01}, {"test": 0.5, "validation": 0.5}):
        with pytest.raises(ValueError, match="leaves"):
            hold_out(examples(), fractions)


def run(*flags):
    return subprocess.run(
        [sys.executable, "-m", "experiments.prepare_data", *flags],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_command(idx_folder, tmp_path):
    """The documented line, twice: the second is refused with a reason."""
    flags = [
        "--from=idx",
        f"--root={idx_folder}",
        "--name=fashion_mnist",
        "--version=3.0.1",
        f"--data_dir={tmp_path}",
    ]
    first = run(*flags)
    assert first.returncode == 0, first.stderr
    source = TFDS(dataset="fashion_mnist", data_dir=str(tmp_path))
    assert stored(source, "train") == pairs(DIGITS[:12], LABELS[:12])
    assert stored(source, "test") == pairs(DIGITS[12:], LABELS[12:])
    second = run(*flags)
    assert second.returncode == 1
    assert "error:" in second.stderr and "there already" in second.stderr


def test_command_splits_an_npz_by_group(tmp_path):
    np.savez(tmp_path / "a.npz", x=DIGITS, base=LABELS)
    flags = [
        "--from=npz",
        f"--root={tmp_path / 'a.npz'}",
        "--name=grouped",
        f"--data_dir={tmp_path}",
        "--hold_out=test=0.3",
        "--image_shape=14,14,1",
        "--resize=box",
    ]
    assert "['x', 'base'] are there" in run(*flags, "--group_by=bass").stderr
    done = run(*flags, "--group_by=base")
    assert done.returncode == 0, done.stderr
    source = TFDS(dataset="grouped", data_dir=str(tmp_path))
    sizes = [len(source.open(split)) for split in ("train", "test")]
    assert sum(sizes) == 20 and source.open("test").shape(0) == (14, 14, 1)

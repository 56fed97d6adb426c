"""npz files: one per split, and the errors of a wrong one."""

import numpy as np
import pytest

from lsgm.data.errors import DataError
from lsgm.data.images import Images
from lsgm.data.sources.arrays import Npz

X = np.arange(5 * 4, dtype=np.uint8).reshape(5, 2, 2)
Y = np.arange(5)


def written(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize("shape", [(5, 2, 2), (5, 2, 2, 1)])
def test_round_trip(tmp_path, shape):
    source = Npz(train=written(tmp_path / "a.npz", x=X.reshape(shape), y=Y))
    assert source.splits() == ("train",)
    batch = (
        Images(source=source, image_shape=(2, 2, 1)).eval_batches("train", 5).batch(0)
    )
    np.testing.assert_array_equal(batch["levels"][..., 0], X)
    np.testing.assert_array_equal(batch["label"], Y)


def test_labels_in_a_column(tmp_path):
    path = written(tmp_path / "a.npz", x=X, y=Y[:, None])
    labels = Npz(train=path).open("train").labels
    assert labels is not None and labels.tolist() == Y.tolist()


def test_labels_are_optional(tmp_path):
    source = Npz(test=written(tmp_path / "a.npz", x=X))
    example = Images(source=source, image_shape=(2, 2, 1)).example("test", 4)
    assert set(example) == {"levels"}


@pytest.mark.parametrize(
    "arrays, words",
    [
        (dict(z=X), "holds z"),
        (dict(x=X.astype(np.float32)), "float32"),
        (dict(x=X[0]), r"\[2, 2\]"),
        (dict(x=X[:0]), r"\[0, 2, 2\]"),
        (dict(x=X, y=Y[:4]), "5 integers"),
        (dict(x=X, y=Y / 2), "float64"),
        (dict(x=X, y=Y.astype(str)), "5 integers, is <U"),
        (dict(x=X, y=Y * 2**40), "'y', row 1: 1099511627776"),
        (dict(x=X, y=Y - 1), "'y', row 0: -1"),
        (dict(x=np.zeros((2, 3, 8, 8), np.uint8)), "looks channels-first"),
        (dict(x=np.zeros((2, 1, 28, 28), np.uint8)), "looks channels-first"),
        (dict(x=np.zeros((2, 8, 8, 4), np.uint8)), "alpha channel"),
        (dict(x=np.zeros((2, 8, 8, 5), np.uint8)), "has 5 channels"),
        (dict(x=np.zeros((8, 8, 3), np.uint8)), "looks like one image"),
    ],
)
def test_wrong_content(tmp_path, arrays, words):
    path = written(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=words) as error:
        Npz(test=path).open("test")
    assert error.value.argument == "test" and path in str(error.value)


def test_wrong_file(tmp_path):
    for name, content in (("gone.npz", None), ("text.npz", b"text"), ("e.npz", b"")):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match="no such file|not an npz") as error:
            Npz(train=str(path)).open("train")
        assert error.value.argument == "train" and name in str(error.value)


def test_a_single_array_is_no_npz(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(DataError, match="not an npz"):
        Npz(train=str(tmp_path / "x.npy")).open("train")


def test_missing_split(tmp_path):
    path = written(tmp_path / "a.npz", x=X)
    with pytest.raises(DataError, match="'test'; allowed are train"):
        Npz(train=path).open("test")

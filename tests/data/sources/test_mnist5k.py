"""The embedded digits: whole, disjoint, stratified, of known origin."""

import hashlib

import numpy as np
import pytest

from lsgm.data.errors import DataError
from lsgm.data.sources.mnist5k import FOLDER, MNIST5k


@pytest.fixture(scope="module")
def splits():
    return {split: MNIST5k().open(split) for split in MNIST5k().splits()}


def test_sizes_and_strata(splits):
    for split, per_digit in dict(train=400, validation=50, test=50).items():
        assert len(splits[split]) == 10 * per_digit
        np.testing.assert_array_equal(np.bincount(splits[split].labels), per_digit)


def test_splits_are_disjoint_and_make_up_the_file(splits):
    images = np.concatenate([s.images for s in splits.values()]).reshape(5000, 784)
    assert len(np.unique(images, axis=0)) == 5000  # by content, not by index
    with np.load(FOLDER / "mnist5k.npz") as file:
        assert images.sum(dtype=np.int64) == file["x"].sum(dtype=np.int64)


def test_example(splits):
    example = splits["test"][3]
    assert example["image"].shape == splits["test"].shape(3) == (28, 28, 1)
    assert example["image"].dtype == np.uint8
    assert example["label"].dtype == np.int32
    assert splits["test"].name(3) == "mnist5k/test[3]"


def test_provenance_names_the_shipped_bytes():
    digest = hashlib.sha256((FOLDER / "mnist5k.npz").read_bytes()).hexdigest()
    assert digest in (FOLDER / "README.md").read_text()
    assert "Redistribution" in (FOLDER / "LICENSE").read_text()


def test_unknown_split():
    with pytest.raises(DataError, match="mnist5k has no split 'dev'") as error:
        MNIST5k().open("dev")
    assert error.value.argument == "split"
    for split in MNIST5k().splits():
        assert split in str(error.value)


def test_order_mixes_the_digits(splits):
    """The first hundred of a split hold every digit about as often."""
    for examples in splits.values():
        counts = np.bincount(examples.labels[:100], minlength=10)
        assert counts.min() >= 3

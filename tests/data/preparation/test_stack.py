"""Stacks of three digits: what is in each, and which there are."""

import numpy as np
import pytest

from lsgm.data.errors import DataError
from lsgm.data.preparation.prepare import prepare
from lsgm.data.preparation.stack import stack
from lsgm.data.sources.arrays import ArrayExamples
from lsgm.data.sources.tfds_source import TFDS


def digits(num=40, channels=1, labels=True):
    """Image i is i everywhere and shows the digit i mod 10."""
    images = np.broadcast_to(
        np.arange(num, dtype=np.uint8)[:, None, None, None], (num, 4, 4, channels)
    )
    own = np.arange(num) % 10 if labels else None
    return ArrayExamples(images=images.copy(), labels=own, place="digits")


def test_a_stack_has_three_digits_in_three_colours_with_a_border():
    (train,) = stack({"train": digits()}, passes=2, pad=1).values()
    assert len(train) == 80 and train.shape(0) == (6, 6, 3)
    for i in range(len(train)):
        image, label = train[i]["image"], train[i]["label"]
        own = train.triples[i]
        np.testing.assert_array_equal(image[2, 2], own)
        assert not image[0].any() and not image[:, -1].any()
        a, b, c = own % 10
        assert label == 100 * a + 10 * b + c
        assert train.name(i) == " + ".join(f"digits[{j}]" for j in own)


def test_draws_are_independent_uniform_and_each_split_s_own():
    splits = stack({"train": digits(), "test": digits()}, passes=100, seed=3)
    triples = splits["train"].triples
    counts = np.bincount(triples.reshape(-1), minlength=40)
    assert abs(counts - 300).max() < 5 * 300**0.5
    assert abs(np.corrcoef(triples.T) - np.eye(3)).max() < 0.06
    assert (triples != splits["test"].triples).any()
    again = stack({"train": digits(), "test": digits()}, passes=100, seed=3)
    np.testing.assert_array_equal(again["train"].triples, triples)


def test_what_cannot_be_stacked_is_refused():
    colour = stack({"train": digits(channels=3)}, passes=1)["train"]
    with pytest.raises(DataError, match="only grey images"):
        colour[0]
    with pytest.raises(ValueError, match="at least 1"):
        stack({"train": digits()}, passes=0)
    assert "label" not in stack({"train": digits(labels=False)}, passes=1)["train"][0]


def test_a_prepared_set_holds_the_stacks(tmp_path):
    splits = stack({"train": digits(), "test": digits(10)}, passes=1, pad=2)
    prepare(splits, name="stacked_mnist", data_dir=str(tmp_path))
    source = TFDS(
        dataset="stacked_mnist", data_dir=str(tmp_path), train="train", test="test"
    )
    train = source.open("train")
    assert len(train) == 40 and train.shape(0) == (8, 8, 3)
    stored = {train[i]["image"].tobytes(): train[i]["label"] for i in range(40)}
    made = {
        e["image"].tobytes(): e["label"]
        for e in map(splits["train"].__getitem__, range(40))
    }
    assert stored == made

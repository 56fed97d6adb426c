"""Rules of splitting: what every rule keeps, whatever the numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsgm.data.preparation.split import first, hold_out, listed
from lsgm.data.sources.arrays import ArrayExamples
from lsgm.data.sources.image_folder import FolderExamples


def examples(n):
    """Images that are their own number."""
    images = np.arange(n, dtype=np.int64).astype(np.uint8).reshape(n, 1, 1, 1)
    return ArrayExamples(images=images, place="memory")


def indices(parts):
    return {split: part.indices.tolist() for split, part in parts.items()}


sizes = st.dictionaries(
    st.sampled_from(["train", "validation", "test"]), st.integers(1, 60), min_size=1
)


@given(sizes, st.integers(0, 60))
def test_first_is_consecutive(counts, rest):
    """The parts, one behind the other, are the beginning of the whole."""
    n = sum(counts.values()) + rest
    parts = first(examples(n), counts)
    assert {split: len(part) for split, part in parts.items()} == counts
    together = [i for part in indices(parts).values() for i in part]
    assert together == list(range(n - rest))
    for part in parts.values():
        assert part[0]["image"].item() == part.indices[0] % 256


@given(sizes, st.integers(1, 60))
def test_first_refuses_more_than_there_is(counts, lack):
    n = max(0, sum(counts.values()) - lack)
    with pytest.raises(ValueError, match=f"{n} at most"):
        first(examples(n), counts)


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 9), min_size=30, max_size=80),
    st.floats(0.15, 0.4),
    st.integers(0, 2**31),
)
def test_hold_out_is_a_partition_by_groups(groups, fraction, seed):
    """Disjoint, whole, ascending; no group on both sides; sizes count groups."""
    groups = np.array([*groups, *range(10)])  # each of ten groups occurs
    n = len(groups)
    parts = hold_out(examples(n), {"test": fraction}, groups=groups, seed=seed)
    found = indices(parts)
    assert sorted(found["train"] + found["test"]) == list(range(n))
    assert all(part == sorted(part) for part in found.values())
    held = set(groups[found["test"]].tolist())
    assert not held & set(groups[found["train"]].tolist())
    assert len(held) == round(10 * fraction)
    again = hold_out(examples(n), {"test": fraction}, groups=groups, seed=seed)
    assert indices(again) == found


def test_hold_out_wants_a_group_for_each():
    with pytest.raises(ValueError, match=r"\[3\] of 4 examples"):
        hold_out(examples(4), {"test": 0.5}, groups=np.arange(3))


@pytest.mark.parametrize(
    "fractions, words",
    [
        ({"test": float("nan")}, "above 0 and below 1"),
        ({"test": 20.0}, "above 0 and below 1"),
        ({"test": -0.1}, "above 0 and below 1"),
        ({"train": 0.5, "test": 0.2}, "must be 1 in all"),
    ],
)
def test_wrong_fractions(fractions, words):
    with pytest.raises(ValueError, match=words):
        hold_out(examples(10), fractions)


def test_fraction_of_train():
    """Given or not, train is what is left."""
    both, one = (
        indices(hold_out(examples(10), fractions))
        for fractions in ({"train": 0.7, "test": 0.3}, {"test": 0.3})
    )
    assert both == one


@given(st.permutations(range(20)), st.integers(1, 18), st.integers(1, 18))
def test_lists_name_their_files(order, a, b):
    """By the end of the path, in any order of lines; the rest is left out."""
    paths = [f"/data/{i % 2}/{i:02d}.png" for i in range(20)]
    folder = FolderExamples(paths=tuple(paths), labels=None)
    chosen = {"train": order[:a], "test": order[a : a + b]}
    lists = {
        split: [paths[i] if i % 3 else paths[i][6:] for i in part]
        for split, part in chosen.items()
    }
    parts = listed(folder, lists)
    assert indices(parts) == {split: sorted(part) for split, part in chosen.items()}


@pytest.mark.parametrize(
    "lists, words",
    [
        ({"train": ["9.png"]}, "names 0"),
        ({"train": ["0.png"]}, "names 2"),
        ({"train": ["a/0.png", "/d/a/0.png"]}, "twice"),
        ({"train": ["a/0.png"], "test": ["a/0.png"]}, "test.*twice"),
        ({"train": []}, "empty"),
        ({"train": ["a\\0.png", "./a/0.png"]}, "names './a/0.png' twice"),
        ({"train": ["../1.png"]}, "names 0"),
        ({"train": ["ta/0.png", "1.png"]}, "names 0"),
    ],
)
def test_wrong_lists(lists, words):
    folder = FolderExamples(paths=("/d/a/0.png", "/d/b/0.png", "/d/1.png"), labels=None)
    with pytest.raises(ValueError, match=words):
        listed(folder, lists)

"""Copies within and across splits, exact and near."""

import numpy as np
from PIL import Image

from lsgm.data.preparation.duplicates import (
    exact_copies,
    gradient_hash,
    near_copies,
    told,
)


def test_exact_copies():
    found = exact_copies(
        {"train": list("aabc"), "validation": ["d"], "test": ["a", "b"]}
    )
    assert found == {"within": {"train": 1}, "across": {"test in train": 2}}
    assert told(found, "same pixels") == [
        "2 images of test in train (same pixels)",
        "1 images of train repeat another of train (same pixels)",
    ]


def test_near_copies():
    """Brighter, and resized there and back, it is near; mirrored it is not."""
    cells = np.random.default_rng(0).integers(0, 200, (2, 16, 18, 3)).astype(np.uint8)
    one, other = cells.repeat(4, 1).repeat(4, 2)
    again = Image.fromarray(one + 40).resize((66, 61), Image.Resampling.BICUBIC)
    hashes = [gradient_hash(i) for i in (one, np.asarray(again), one[:, ::-1], other)]
    found = near_copies(
        {"train": np.array(hashes[:1]), "test": np.array(hashes[1:])},
        {"train": ["0"], "test": ["1", "2", "3"]},
    )
    assert found == {"across": {"test in train": 1}, "pairs": [["1", "0"]]}


def test_gradient_hash_of_a_ramp():
    """Grey levels that rise to the right set every bit, falling ones none."""
    ramp = np.arange(9, dtype=np.uint8).reshape(1, 9, 1).repeat(8, 0) * 20
    assert gradient_hash(ramp) == 2**64 - 1 and gradient_hash(ramp[:, ::-1]) == 0

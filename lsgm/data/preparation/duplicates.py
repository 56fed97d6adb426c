"""Pictures that a prepared set holds twice, within a split and across splits."""

import collections
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt64
from PIL import Image

NEAR_BITS = 3
ROWS = 256  # compared at a time
LISTED = 20


def exact_copies(digests: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Images of the same pixels, by their digests.

    Returns:
      ``within``: for each split, how many repeat one before; ``across``: for
      "test in train", how many of test are also in train. Zeros are left out.
    """
    within = {split: len(d) - len({*d}) for split, d in digests.items()}
    across = {}
    for one, other in itertools.combinations(digests, 2):
        known = {*digests[one]}
        across[f"{other} in {one}"] = sum(d in known for d in digests[other])
    return {"within": _nonzero(within), "across": _nonzero(across)}


def near_copies(
    hashes: Mapping[str, UInt64[np.ndarray, " _"]], names: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Images of one split that are nearly one of another, by ``gradient_hash``.

    Returns:
      ``across``: as ``exact_copies``, of hashes that differ in at most ``NEAR_BITS``
      bits; ``pairs``: names of the first ``LISTED``.
    """
    across: collections.Counter[str] = collections.Counter()
    pairs: list[list[str]] = []
    for one, other in itertools.combinations(hashes, 2):
        for start in range(0, len(hashes[other]), ROWS):
            rows = hashes[other][start : start + ROWS, None]
            distance = np.bitwise_count(rows ^ hashes[one])
            near = distance.argmin(1)
            for i in np.flatnonzero(distance.min(1) <= NEAR_BITS):
                across[f"{other} in {one}"] += 1
                pairs.append([names[other][start + int(i)], names[one][int(near[i])]])
    return {"across": dict(across), "pairs": pairs[:LISTED]}


def gradient_hash(image: UInt8[np.ndarray, "h w c"]) -> np.uint64:
    """64 bits: whether each of 8x8 grey cells is darker than the one to its right."""
    grey = Image.fromarray(image.mean(2).round().astype(np.uint8))
    cells = np.asarray(grey.resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    return np.packbits(cells[:, :-1] < cells[:, 1:]).view(np.uint64)[0]


def told(copies: Mapping[str, Any], kind: str) -> list[str]:
    """``copies`` in words, those across splits first."""
    lines = [
        f"{count} images of {name} ({kind})"
        for name, count in copies.get("across", {}).items()
    ]
    lines += [
        f"{count} images of {split} repeat another of {split} ({kind})"
        for split, count in copies.get("within", {}).items()
    ]
    return lines


def _nonzero(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}

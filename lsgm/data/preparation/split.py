"""Rules that divide the examples of one split: at random, in order, by lists.

Each gives, for every name, the indices of its examples in ascending order; no
example is in two parts.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsgm.data.preparation.lists import comparable
from lsgm.data.sources.base import Examples


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Subset:
    """Some of the examples."""

    examples: Examples
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Mapping[str, Any]:
        return self.examples[int(self.indices[i])]

    def shape(self, i: int) -> tuple[int, int, int]:
        return self.examples.shape(int(self.indices[i]))

    def name(self, i: int) -> str:
        return self.examples.name(int(self.indices[i]))


def hold_out(
    examples: Examples,
    fractions: Mapping[str, float],
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Subset]:
    """Split at random into "train" and held-out parts of about these fractions.

    Args:
      fractions: above 0 and below 1; "train" has the rest, and if it is given, all
        together have to be 1.
      groups: [n] numbers; examples of one group stay in one split, so that
        near-copies (an emoji in another skin tone) cannot leak into the test.

    Raises:
      ValueError: fractions that leave nothing to a split, or another number of
        groups than of examples.
    """
    total = sum(fractions.values())
    if not all(0 < fraction < 1 for fraction in fractions.values()):
        raise ValueError(f"{dict(fractions)}: a fraction is above 0 and below 1")
    if "train" in fractions and not math.isclose(total, 1):
        raise ValueError(f"{dict(fractions)}: with train, they must be 1 in all")
    fractions = {k: f for k, f in fractions.items() if k != "train"}
    groups = np.arange(len(examples)) if groups is None else groups
    if groups.shape != (len(examples),):
        raise ValueError(f"groups {list(groups.shape)} of {len(examples)} examples")
    names, of_example = np.unique(groups, return_inverse=True)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(names))
    sizes = {k: round(len(names) * fraction) for k, fraction in fractions.items()}
    sizes = {"train": len(names) - sum(sizes.values())} | sizes
    if min(sizes.values()) < 1:
        raise ValueError(f"{dict(fractions)} of {len(names)} groups leaves {sizes}")
    bounds = np.cumsum([0, *sizes.values()])
    parts = {}
    for split, start, stop in zip(sizes, bounds, bounds[1:], strict=False):
        member = np.isin(of_example, order[start:stop])
        parts[split] = Subset(examples=examples, indices=np.flatnonzero(member))
    return parts


def first(examples: Examples, counts: Mapping[str, int]) -> dict[str, Subset]:
    """The first ``counts`` examples, then the next, in order; the rest is left out.

    Raises:
      ValueError: a count below one, or more than there are together.
    """
    total = sum(counts.values())
    if not counts or min(counts.values()) < 1 or total > len(examples):
        message = f"{dict(counts)}: at least 1 each, together {len(examples)} at most"
        raise ValueError(message)
    bounds = np.cumsum([0, *counts.values()])
    return {
        split: Subset(examples=examples, indices=np.arange(start, stop))
        for split, start, stop in zip(counts, bounds, bounds[1:], strict=False)
    }


def listed(examples: Examples, lists: Mapping[str, Sequence[str]]) -> dict[str, Subset]:
    """The examples that each list names, by the end of their path.

    Args:
      lists: "7.png" or "faces/7.png" names the one example whose path is, or ends
        in "/" and, that, where "\\" is "/" and an accent is a letter's, however
        it is encoded; examples in no list are left out.

    Raises:
      ValueError: an empty list, or a line that names no example, several, or one
        that a line before it names.
    """
    by_file: dict[str, list[int]] = {}
    for i in range(len(examples)):
        file = comparable(examples.name(i)).rpartition("/")[2]
        by_file.setdefault(file, []).append(i)
    seen: set[int] = set()
    parts = {}
    for split, lines in lists.items():
        found: set[int] = set()
        for line in lines:
            i = _only(examples, by_file, line)
            if i in seen:
                message = f"the list of {split} names {line!r} twice, or another does"
                raise ValueError(message)
            found.add(i)
            seen.add(i)
        if not found:
            raise ValueError(f"the list of {split} is empty")
        parts[split] = Subset(examples=examples, indices=np.array(sorted(found)))
    return parts


def _only(examples: Examples, by_file: Mapping[str, list[int]], line: str) -> int:
    """The one example that a line names."""
    end = "/" + comparable(line).lstrip("/")
    candidates = by_file.get(end.rpartition("/")[2], [])
    found = [
        i for i in candidates if ("/" + comparable(examples.name(i))).endswith(end)
    ]
    if len(found) > 1:  # names that differ only in how they are encoded
        exact = [i for i in found if ("/" + examples.name(i)).endswith("/" + line)]
        found = exact if len(exact) == 1 else found
    if len(found) != 1:
        raise ValueError(f"{line!r} names {len(found)} of the examples, not one")
    return found[0]

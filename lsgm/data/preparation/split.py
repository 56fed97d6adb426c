"""Rules that divide the examples of one split: at random, in order, by lists.

Each gives, for every name, the indices of its examples in ascending order; no
example is in two parts.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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
      groups: [n] numbers; examples of one group stay in one split, so that
        near-copies (an emoji in another skin tone) cannot leak into the test.

    Raises:
      ValueError: fractions that leave nothing to a split, or another number of
        groups than of examples.
    """
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
        in "/" and, that; examples in no list are left out.

    Raises:
      ValueError: an empty list, or a line that names no example, several, or one
        that a line before it names.
    """
    by_file: dict[str, list[int]] = {}
    for i in range(len(examples)):
        by_file.setdefault(examples.name(i).rpartition("/")[2], []).append(i)
    seen: set[int] = set()
    parts = {}
    for split, lines in lists.items():
        found = {_only(examples, by_file, line) for line in lines}
        if not found or len(found) < len(lines) or found & seen:
            raise ValueError(f"the list of {split} is empty or names an example twice")
        seen |= found
        parts[split] = Subset(examples=examples, indices=np.array(sorted(found)))
    return parts


def _only(examples: Examples, by_file: Mapping[str, list[int]], line: str) -> int:
    """The one example that a line names."""
    candidates = by_file.get(line.rpartition("/")[2], [])
    end = "/" + line.lstrip("./")
    found = [i for i in candidates if ("/" + examples.name(i)).endswith(end)]
    if len(found) != 1:
        raise ValueError(f"{line!r} names {len(found)} of the examples, not one")
    return found[0]

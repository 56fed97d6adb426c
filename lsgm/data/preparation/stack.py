"""StackedMNIST: three grey images as the colours of one, drawn at random.

Of n images of digits, p passes make p n stacks of three independent uniform draws each.
With ten digits there are 1000 kinds of stack, about as many of each. A label is
100 a + 10 b + c of the digits a, b, c.

Source: Metz et al., Unrolled GANs, arXiv 1611.02163.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from lsgm.data.errors import DataError
from lsgm.data.sources.base import Examples


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Stacks:
    """Stacks of grey images.

    Attributes:
      triples: which three make each.
      pad: black pixels added on each side.
    """

    examples: Examples
    triples: Int[np.ndarray, "n 3"]
    pad: int = 0

    def __len__(self) -> int:
        return len(self.triples)

    def __getitem__(self, i: int) -> Mapping[str, Any]:
        """Raises a DataError for colour images, for three of different sizes, and for
        labels that are no digits."""
        parts = [self.examples[int(j)] for j in self.triples[i]]
        shapes = {part["image"].shape for part in parts}
        if len(shapes) > 1 or shapes.pop()[-1] != 1:
            raise DataError(
                "stack_passes",
                self.name(i),
                "only grey images of one size are stacked; use --grey on them first",
            )
        border = ((self.pad, self.pad), (self.pad, self.pad), (0, 0))
        image = np.pad(np.concatenate([part["image"] for part in parts], -1), border)
        if not all("label" in part for part in parts):
            return {"image": image}
        digits = [int(part["label"]) for part in parts]
        if max(digits) > 9:
            raise DataError(
                "stack_passes", self.name(i), f"labels {digits}: expected digits"
            )
        return {"image": image, "label": 100 * digits[0] + 10 * digits[1] + digits[2]}

    def shape(self, i: int) -> tuple[int, int, int]:
        height, width, _ = self.examples.shape(int(self.triples[i][0]))
        return height + 2 * self.pad, width + 2 * self.pad, 3

    def name(self, i: int) -> str:
        return " + ".join(self.examples.name(int(j)) for j in self.triples[i])


def stack(
    splits: Mapping[str, Examples], *, passes: int, pad: int = 0, seed: int = 0
) -> dict[str, Stacks]:
    """Stacks of each split's own images.

    Args:
      passes: p.
      seed: of the draws, with the split's place among the splits.

    Raises:
      ValueError: fewer than one pass, or a negative border.
    """
    if passes < 1 or pad < 0:
        raise ValueError(f"passes = {passes}, pad = {pad}: at least 1, at least 0")
    stacked = {}
    for i, (split, examples) in enumerate(splits.items()):
        rng = np.random.Generator(np.random.PCG64([seed, i]))
        num = len(examples)
        triples = rng.integers(0, num, (passes * num, 3))
        stacked[split] = Stacks(examples=examples, triples=triples, pad=pad)
    return stacked

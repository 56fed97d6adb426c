"""Real images as samples are compared with them: not binarised, in [0, 1], streamed."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from lsgm.data.images import Images
from lsgm.data.pipeline import Data, require_kind
from lsgm.typing import Float


def real_images(
    data: Data, split: str, batch_size: int, *, num_bits: int = 8
) -> Iterator[Float[np.ndarray, "n h w c"]]:
    """Every image of a split, in order and batch by batch, the last one short.

    Args:
      num_bits: of the images; published references have 8, whatever the model has.
    """
    images = require_kind(data, Images, "evaluation.extractor")
    plain = dataclasses.replace(images, binarize="none", num_bits=num_bits)
    for batch in plain.eval_batches(split, batch_size):
        levels = batch["levels"][batch["mask"]]
        yield levels.astype(np.float32) / np.float32(2**num_bits - 1)


def some_real_images(
    data: Data, split: str, num: int, *, num_bits: int = 8
) -> Float[np.ndarray, "n h w c"]:
    """At most ``num`` images of a split, drawn at random."""
    store = data.open(split)
    drawn = np.random.default_rng(0).permutation(len(store))[:num]
    levels = store.take(np.sort(drawn))["levels"] >> np.uint8(8 - num_bits)
    return levels.astype(np.float32) / np.float32(2**num_bits - 1)

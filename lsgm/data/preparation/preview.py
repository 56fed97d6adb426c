"""A sheet of images of a prepared set: the first of each split, as stored."""

import math
from collections.abc import Mapping

from PIL import Image, ImageDraw

from lsgm.data.sources.base import Examples

COLUMNS, ROWS = 8, 8
LARGEST = 128  # pixels of the longer side of an image on the sheet
MARGIN, TITLE = 8, 20


def sheet(splits: Mapping[str, Examples]) -> Image.Image:
    """The first 64 images of each split below its name; small ones are enlarged by a
    whole number, large ones reduced."""
    blocks = [_block(name, examples) for name, examples in splits.items()]
    width = max(block.width for block in blocks)
    whole = Image.new("RGB", (width, sum(b.height for b in blocks)), "white")
    top = 0
    for block in blocks:
        whole.paste(block, (0, top))
        top += block.height
    return whole


def _block(name: str, examples: Examples) -> Image.Image:
    count = min(COLUMNS * ROWS, len(examples))
    images = [_tile(examples, i) for i in range(count)]
    width, height = images[0].size
    size = (
        COLUMNS * (width + 1) - 1 + 2 * MARGIN,
        TITLE + math.ceil(count / COLUMNS) * (height + 1) + MARGIN,
    )
    block = Image.new("RGB", size, "white")
    title = f"{name}: {count} of {len(examples):,}"
    ImageDraw.Draw(block).text((MARGIN, 5), title, fill="black")
    for i, image in enumerate(images):
        row, column = divmod(i, COLUMNS)
        place = (MARGIN + column * (width + 1), TITLE + row * (height + 1))
        block.paste(image, place)
    return block


def _tile(examples: Examples, i: int) -> Image.Image:
    pixels = examples[i]["image"]
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    longer = max(image.size)
    if longer > LARGEST:
        w, h = (max(1, round(side * LARGEST / longer)) for side in image.size)
        return image.resize((w, h), Image.Resampling.BOX)
    factor = max(1, LARGEST // 2 // longer)
    w, h = (side * factor for side in image.size)
    return image.resize((w, h), Image.Resampling.NEAREST)

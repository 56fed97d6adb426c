"""Images laid out in grids, strips and pairs, lines of text, all written as PNG.

Images come as floats in [0, 1] or as bytes, one or three channels. Small ones are
enlarged by a whole factor, each pixel becoming a square, so that nothing is
invented between pixels.
"""

import io
import math
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from lsgm.files import write_file
from lsgm.typing import Array

Images = Float[np.ndarray | Array, "n h w c"] | UInt8[np.ndarray | Array, "n h w c"]
Strip = Float[np.ndarray | Array, "t n h w c"] | UInt8[np.ndarray | Array, "t n h w c"]
Picture = UInt8[np.ndarray, "height width colours"]

PADDING = 2
GROUND = 255
MIN_TILE = 56
FONT_SIZE, LINE_HEIGHT, MARGIN = 13, 18, 6


def grid(images: Images, columns: int | None = None) -> Picture:
    """Images in rows, filled from the left, on a white ground.

    Args:
      images: [n h w c] with one or three channels.
      columns: images in a row; None for as near a square as n allows.

    Returns:
      The picture, ``PADDING`` screen pixels around each image.

    Raises:
      ValueError: no images, a number of channels that has no colour, or floats
        outside [0, 1].
    """
    tiles = to_bytes(images)
    n, h, w, c = tiles.shape
    if not n:
        raise ValueError("no images to lay out")
    if c not in (1, 3):
        raise ValueError(f"images have {c} channels; a PNG takes 1 or 3")
    in_row = min(n, columns or math.ceil(math.sqrt(n)))
    rows = -(-n // in_row)
    factor = max(1, -(-MIN_TILE // min(h, w)))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    cell_h, cell_w = h * factor + PADDING, w * factor + PADDING
    shape = (rows * cell_h + PADDING, in_row * cell_w + PADDING, c)
    picture = np.full(shape, GROUND, np.uint8)
    for i, tile in enumerate(tiles):
        top = PADDING + i // in_row * cell_h
        left = PADDING + i % in_row * cell_w
        picture[top : top + h * factor, left : left + w * factor] = tile
    return picture


def pairs(originals: Images, reconstructions: Images, columns: int = 8) -> Picture:
    """Each original joined to its reconstruction on its right, ``columns`` pairs a
    row."""
    sides = [to_bytes(originals), to_bytes(reconstructions)]
    return grid(np.concatenate(sides, axis=2), columns)


def strip(path: Strip) -> Picture:
    """A path [time n h w c]: one row per sample, from noise (left) to image."""
    steps = to_bytes(path)
    rows = np.moveaxis(steps, 0, 1)
    return grid(rows.reshape(-1, *steps.shape[2:]), len(steps))


def lines(texts: Sequence[str]) -> Picture:
    """Lines of text in a font of one width; what it has no sign for is a box."""
    import matplotlib

    fonts = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf")
    font = ImageFont.truetype(str(fonts / "DejaVuSansMono.ttf"), FONT_SIZE)
    width = math.ceil(max((font.getlength(text) for text in texts), default=0))
    size = width + 2 * MARGIN, LINE_HEIGHT * len(texts) + 2 * MARGIN
    picture = Image.new("L", size, GROUND)
    draw = ImageDraw.Draw(picture)
    for i, text in enumerate(texts):
        draw.text((MARGIN, MARGIN + i * LINE_HEIGHT), text, fill=0, font=font)
    return np.asarray(picture)[..., None]


def to_bytes(images: Images | Strip) -> UInt8[np.ndarray, "..."]:
    """[0, 1] to 0..255, rounded to the nearest; bytes pass unchanged.

    Raises:
      ValueError: floats outside [0, 1] (NaN too).
    """
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    if images.size and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"images span [{images.min()}, {images.max()}], not within [0, 1]"
        )
    return np.round(255 * images.astype(np.float64)).astype(np.uint8)


def png(picture: Picture) -> bytes:
    """The picture as a PNG file's bytes."""
    squeezed = picture[..., 0] if picture.shape[2] == 1 else picture
    file = io.BytesIO()
    Image.fromarray(squeezed).save(file, format="PNG", optimize=True)
    return file.getvalue()


def save_grid(
    path: pathlib.Path | str, images: Images, columns: int | None = None
) -> None:
    """Write ``grid(images, columns)`` as a PNG file."""
    write_file(pathlib.Path(path), png(grid(images, columns)))

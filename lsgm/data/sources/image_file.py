"""Encoded images (PNG, JPEG, WebP) to pixels, alike wherever the bytes come from.

Turned as their EXIF orientation says; transparent pixels become white; grey files
give one channel, all others three.
"""

import io
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from lsgm.data.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
GREY_MODES = ("1", "L", "LA", "La")
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
EXIF_ORIENTATION = 0x0112


class Opened:
    """A file, or its bytes, as a Pillow image; what goes wrong while it is open names
    the file."""

    def __init__(self, file: str | bytes, name: str):
        self.file = io.BytesIO(file) if isinstance(file, bytes) else file
        self.name = name

    def __enter__(self) -> Image.Image:
        try:
            self.image = Image.open(self.file)
        except Exception as error:
            raise self._unreadable(error) from error
        return self.image

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.image.close()
        if isinstance(error, Exception):
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DataError:
        return DataError("root", self.name, f"unreadable image: {error}")


def pixels(file: str | bytes, name: str) -> UInt8[np.ndarray, "h w c"]:
    """The decoded image.

    Raises:
      DataError: unreadable, or more than 8 bits per channel; names the file.
    """
    with Opened(file, name) as image:
        mode = _mode(image)
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        array = np.asarray(image.convert(mode))
        return array[..., None] if mode == "L" else array


def shape(file: str | bytes, name: str) -> tuple[int, int, int]:
    """(h, w, c) of the decoded image, from its header alone.

    Raises:
      DataError: as ``pixels``.
    """
    with Opened(file, name) as image:
        width, height = image.size
        # Orientations 5 to 8 lie on their side.
        if image.getexif().get(EXIF_ORIENTATION, 1) > 4:
            width, height = height, width
        return height, width, 1 if _mode(image) == "L" else 3


def is_image(path: str) -> bool:
    """Whether a path is that of an image: hidden ones are leavings of file managers
    ("._1.png"), not images."""
    parts = path.split("/")
    return path.lower().endswith(SUFFIXES) and not any(p[:1] == "." for p in parts)


def _mode(image: Image.Image) -> str:
    """The mode it is read in: L (grey) or RGB."""
    if image.mode in DEEP_MODES:
        raise ValueError(f"mode {image.mode} has more than 8 bits per channel")
    return "L" if image.mode in GREY_MODES else "RGB"

"""Encoded images to pixels, alike wherever the bytes come from.

Turned as their EXIF orientation says; transparent pixels become white; grey files
give one channel, all others three. Refused is what Pillow would cut in silence, more
than 8 bits per channel or more than one frame, and what is far larger than its file:
a PNG of 174 kB may hold 179 million pixels, and take 3.2 GB to decode.
"""

import io
import pathlib
import re
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from lsgm.data.errors import DataError

# Rasters that Pillow decodes by itself: EPS, for one, runs another program.
FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"),
    "AVIF": (".avif",),
    "PCX": (".pcx",),
    "QOI": (".qoi",),
    "TGA": (".tga",),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
GREY_MODES = ("1", "L", "LA", "La")
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
# Pillow's names of 16-bit rows, "RGB;16B"; not BMP's "BGR;16", 16 bits per pixel.
DEEP_ROWS = re.compile(r";16[BLN]")
EXIF_ORIENTATION = 0x0112
HEAD_BYTES = 2**16
# 8192 x 8192, which takes about 1 GB to decode. Pillow itself stops at 179 million.
MAX_PIXELS = 2**26


def jpeg2000_bits(head: bytes) -> int:
    """Bits of the first component: 38 bytes behind the markers SOC and SIZ."""
    return head[head.index(b"\xff\x4f\xff\x51") + 42] % 128 + 1


def avif_bits(head: bytes) -> int:
    """8, or 16 if box av1C has its flag of high bit depth (10 or 12)."""
    return 16 if head[head.index(b"av1C") + 6] & 0x40 else 8


# Where Pillow does not tell.
HEADER_BITS = {"JPEG2000": jpeg2000_bits, "AVIF": avif_bits}


class Opened:
    """A file, or its bytes, as a Pillow image; what goes wrong while it is open names
    the file."""

    def __init__(self, file: pathlib.Path | bytes, name: str, max_pixels: int):
        self.file = io.BytesIO(file) if isinstance(file, bytes) else file
        self.name, self.max_pixels = name, max_pixels
        # Stored text is never taken for the path of a file.
        if not isinstance(file, pathlib.Path | bytes):
            message = f"holds {type(file).__name__}, not the bytes of an image"
            raise DataError("root", name, message)

    def __enter__(self) -> Image.Image:
        if isinstance(self.file, pathlib.Path) and not self.file.is_file():
            raise self._unreadable(FileNotFoundError("no such file, or no regular one"))
        try:
            self.image = Image.open(self.file, formats=tuple(FORMATS))
        except Exception as error:
            raise self._unreadable(error) from error
        try:
            self._refuse_large()
            self._refuse_cuts()
        except Exception as error:
            self.image.close()
            raise self._unreadable(error) from error
        return self.image

    def _refuse_large(self) -> None:
        width, height = self.image.size
        if width * height > self.max_pixels:
            raise ValueError(
                f"{width} x {height} pixels are more than max_pixels = "
                f"{self.max_pixels}; raise it if the image is right"
            )

    def _refuse_cuts(self) -> None:
        """Raise a ValueError for what would lose bits or frames."""
        image = self.image
        if image.mode in DEEP_MODES or self._bits() > 8:
            raise ValueError(f"mode {image.mode} has more than 8 bits per channel")
        # A camera's JPEG may hold previews behind the picture.
        if getattr(image, "is_animated", False) and image.format != "MPO":
            raise ValueError("holds several frames: give one image per file")

    def _bits(self) -> int:
        """Bits per channel of the file, at least 8."""
        image: Any = self.image
        if image.format in HEADER_BITS:
            return HEADER_BITS[image.format](self._head())
        bits = 8
        for codec, _, _, arguments in getattr(image, "tile", ()):
            if codec.startswith("ppm"):  # (mode, largest value)
                bits = max(bits, int(arguments[1]).bit_length())
            elif DEEP_ROWS.search(str(arguments)):
                bits = 16
        return bits

    def _head(self) -> bytes:
        if isinstance(self.file, io.BytesIO):
            return self.file.getvalue()[:HEAD_BYTES]
        with open(self.file, "rb") as file:
            return file.read(HEAD_BYTES)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.image.close()
        if isinstance(error, Exception):
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DataError:
        return DataError("root", self.name, f"unreadable image: {error}")


def pixels(
    file: pathlib.Path | bytes, name: str, max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, "h w c"]:
    """The decoded image.

    Raises:
      DataError: unreadable, larger than ``max_pixels``, more than 8 bits per channel,
        or several frames; names the file.
    """
    with Opened(file, name, max_pixels) as image:
        mode = _mode(image)
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        array = np.asarray(image.convert(mode))
        return array[..., None] if mode == "L" else array


def shape(
    file: pathlib.Path | bytes, name: str, max_pixels: int = MAX_PIXELS
) -> tuple[int, int, int]:
    """(h, w, c) of the decoded image, from its header alone.

    Raises:
      DataError: as ``pixels``.
    """
    with Opened(file, name, max_pixels) as image:
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
    return "L" if image.mode in GREY_MODES else "RGB"

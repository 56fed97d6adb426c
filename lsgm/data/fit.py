"""From the images as stored to one shape: grey, centre crop, resize.

Deterministic, so it runs once per image, before the cache. Without ``grey`` and
``resize`` a wrong shape is an error, because a silent resize hides a wrong path. So
is enlargement without ``enlarge``: it hides thumbnails and the wrong resolution.
"""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lsgm.data.errors import DataError

Filter = Literal["none", "box", "bilinear", "bicubic", "lanczos"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """Bring images to ``image_shape`` (h, w, c), as far as it is allowed to."""

    image_shape: tuple[int, int, int]
    grey: bool
    resize: Filter
    enlarge: bool = False

    def __post_init__(self) -> None:
        if fault := channel_fault(self.image_shape):
            raise DataError("image_shape", self.image_shape, fault)

    def __call__(
        self, image: UInt8[np.ndarray, "..."], name: str
    ) -> UInt8[np.ndarray, "h w c"]:
        if image.shape == self.image_shape:
            return image
        self.check(image.shape, name)
        h, w, c = self.image_shape
        if image.shape[2] != c:
            image = _luma(image) if c == 1 else np.repeat(image, c, axis=2)
        return image if image.shape[:2] == (h, w) else self._resized(image)

    def check(self, shape: tuple[int, ...], name: str) -> None:
        """Raise a DataError, naming the file, if ``shape`` cannot be fitted."""
        h, w, c = self.image_shape
        size = "x".join(map(str, shape))
        if fault := channel_fault(shape):
            message = f"{name} is {size}: {fault}"
            raise DataError("image_shape", self.image_shape, message)
        # One channel to three loses nothing; three to one must be asked for.
        if shape[2] != c and shape[2] != 1 and not (self.grey and c == 1):
            hint = "; grey = True converts to one channel" if c == 1 else ""
            message = f"{name} is {size}, of {shape[2]} channels{hint}"
            raise DataError("image_shape", self.image_shape, message)
        if shape[:2] != (h, w) and self.resize == "none":
            message = (
                f"{name} is {size}; resize = 'box' (or bilinear, bicubic, "
                "lanczos) crops the centre and resizes"
            )
            raise DataError("image_shape", self.image_shape, message)
        _, _, height, width = centre(shape[0], shape[1], h, w)
        if (height < h or width < w) and not self.enlarge:
            message = f"{name} is {size}, too small; enlarge = True enlarges it"
            raise DataError("image_shape", self.image_shape, message)

    def _resized(self, image: np.ndarray) -> np.ndarray:
        h, w, _ = self.image_shape
        top, left, height, width = centre(image.shape[0], image.shape[1], h, w)
        image = image[top : top + height, left : left + width]
        method = Image.Resampling[self.resize.upper()]
        channels = [
            np.asarray(Image.fromarray(channel).resize((w, h), method))
            for channel in np.moveaxis(np.ascontiguousarray(image), 2, 0)
        ]
        return np.stack(channels, axis=2)


def channel_fault(shape: tuple[int, ...]) -> str | None:
    """Why (h, w, c) is no shape of a grey or colour image; None if it is one."""
    if len(shape) != 3:
        return f"{len(shape)} axes, expected h, w, c"
    if shape[2] in (1, 3):
        return None
    if shape[0] in (1, 3):
        return "looks channels-first (c, h, w): move the channels to the last axis"
    if shape[2] in (2, 4):
        return "has an alpha channel: blend it with a background first"
    return f"has {shape[2]} channels, allowed are 1 and 3"


def centre(height: int, width: int, h: int, w: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the largest centred crop of aspect h : w."""
    crop_h = min(height, max(1, width * h // w))
    crop_w = min(width, max(1, height * w // h))
    return (height - crop_h) // 2, (width - crop_w) // 2, crop_h, crop_w


def _luma(image: np.ndarray) -> np.ndarray:
    """Rec. 601 luma in whole numbers, as Pillow's mode L."""
    weights = np.array([19595, 38470, 7471], np.uint32)
    return ((image @ weights + 2**15) >> 16).astype(np.uint8)[..., None]

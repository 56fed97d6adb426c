r"""Features of the Inception network that published Frechet distances (FID) use.

The weights are the user's: the published file
``pt_inception-2015-12-05-6726825d.pth``, or its tensors as npz or safetensors. A file
counts when its SHA-256 is the one that the config states; only the published file's
features are published FID's, and only they make a distance's name ``FID``.

What happens to an image before the network moves the distance too, so each way has a
name. Grey images become three equal channels. A resize to 299x299 is linear, and so
weights per axis; for a pixel centred at c in the source's pixels,

    w_j ~ max(0, 1 - |j - c| / s),   sum_j w_j = 1,                        (1)

with c = (i + 1/2) r - 1/2, r = size / 299, s = 1                "bilinear",
     c = i r,                                  s = 1             "bilinear_corner",
     c = (i + 1/2) r - 1/2,                    s = max(1, r)     "bilinear_antialiased".

The first is PyTorch's, which LSGM and most published code since take; the second is
the graph's own, TensorFlow 1's; "bicubic_pillow" is Pillow's bicubic on floats,
antialiased, cut to [0, 1]: clean-fid's. Then x in [0, 1] becomes 2 x - 1
("symmetric", LSGM's) or (255 x - 128) / 128 ("graph", the graph's own, clean-fid's).

Sources: LSGM's published evaluation; Parmar et al., arXiv 2104.11222.
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from lsgm.features import weights_file
from lsgm.features.classifier import as_colour, check_range, check_weights
from lsgm.features.sharded import over_devices
from lsgm.interop import inception_file
from lsgm.interop.torch_file import FileError
from lsgm.networks.inception import NUM_FEATURES, InceptionV3
from lsgm.typing import Array, Float, Params

PUBLISHED_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SIZE = 299
Resize = Literal[
    "bilinear", "bilinear_corner", "bilinear_antialiased", "bicubic_pillow"
]
Scaling = Literal["symmetric", "graph"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InceptionFeatures:
    """Pooled features of Inception-v3, 2048 of them.

    Attributes:
      weights: the file; it is opened when the first features are asked for.
      sha256: of that file; default: the published one's.
      resize, scaling: see above.
      round_to_8_bits: round images to bytes first, as if they had been saved.
      batch_size: images per call of the network.
    """

    weights: str
    sha256: str = PUBLISHED_SHA256
    resize: Resize = "bilinear"
    scaling: Scaling = "symmetric"
    round_to_8_bits: bool = False
    batch_size: int = 50

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size = {self.batch_size}: must be at least 1")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 = {self.sha256!r}: 64 hexadecimal digits")
        for name, known in (("resize", Resize), ("scaling", Scaling)):
            if getattr(self, name) not in get_args(known):
                allowed = ", ".join(get_args(known))
                raise ValueError(f"{name} = {getattr(self, name)!r}: one of {allowed}")

    @property
    def published(self) -> bool:
        """Whether these are the weights of published FID."""
        return self.sha256 == PUBLISHED_SHA256

    @property
    def name(self) -> str:
        own = "2015-12-05" if self.published else self.sha256[:8]
        return f"Inception {own}"

    @property
    def dim(self) -> int:
        return NUM_FEATURES

    @property
    def provenance(self) -> dict[str, Any]:
        """Weights and what is done to images before them.

        Raises:
          weights_file.WeightsError: no such file, or another one.
        """
        weights_file.check_sha256(pathlib.Path(self.weights), self.sha256)
        kept = ("sha256", "resize", "scaling", "round_to_8_bits")
        return {"name": self.name} | {name: getattr(self, name) for name in kept}

    def __call__(
        self, images: Float[np.ndarray | Array, "n h w c"]
    ) -> Float[np.ndarray, "n d"]:
        """Features of images in [0, 1], float32.

        Raises:
          ValueError: images outside [0, 1], or of neither one nor three channels.
          weights_file.WeightsError: no such file, another one, or an unreadable one.
        """
        images = as_colour(check_range(np.asarray(images, np.float32)))
        if self.round_to_8_bits:
            images = np.round(255 * images) / np.float32(255)
        if self.resize == "bicubic_pillow":
            images = pillow_bicubic(images)
        return _features(self)(images)


@functools.cache
def _features(extractor: InceptionFeatures) -> Callable[[np.ndarray], np.ndarray]:
    check_weights(extractor)
    try:
        params = inception_file.read(pathlib.Path(extractor.weights))
    except FileError as error:
        raise weights_file.WeightsError(str(error)) from error

    def features(params: Params, x: Array) -> Array:
        x = scaled(resized(x, extractor.resize), extractor.scaling)
        return jnp.asarray(InceptionV3().apply({"params": params}, x))

    return over_devices(features, params, extractor.batch_size)


def scaled(x: Float[Array, "n h w c"], scaling: Scaling) -> Float[Array, "n h w c"]:
    """From [0, 1] to what the network takes."""
    return 2 * x - 1 if scaling == "symmetric" else (255 * x - 128) / 128


def resized(x: Float[Array, "n h w c"], how: Resize) -> Float[Array, "n _ _ c"]:
    """Images of 299x299 by Eq. (1); what has that size stays as it is."""
    for axis in (1, 2):
        if x.shape[axis] != SIZE:
            weights = jnp.asarray(weights_of(x.shape[axis], how), x.dtype)
            moved = jnp.moveaxis(x, axis, -1)
            moved = jnp.matmul(moved, weights, precision=jax.lax.Precision.HIGHEST)
            x = jnp.moveaxis(moved, -1, axis)
    return x


def weights_of(size: int, how: Resize) -> Float[np.ndarray, "size out"]:
    """Eq. (1): the weight of each source pixel in each target pixel."""
    ratio, target = size / SIZE, np.arange(SIZE)
    corner = how == "bilinear_corner"
    centres = target * ratio if corner else (target + 0.5) * ratio - 0.5
    reach = max(1.0, ratio) if how == "bilinear_antialiased" else 1.0
    away = np.abs(np.arange(size)[:, None] - centres[None]) / reach
    weights = np.maximum(0, 1 - away)
    return weights / weights.sum(0)[None]


def pillow_bicubic(
    images: Float[np.ndarray, "n h w c"],
) -> Float[np.ndarray, "n _ _ c"]:
    """Each channel resized by Pillow in single precision, cut to [0, 1]."""
    found = np.empty((len(images), SIZE, SIZE, images.shape[3]), np.float32)
    for i, image in enumerate(images):
        for c in range(image.shape[2]):
            channel = Image.fromarray(np.ascontiguousarray(image[..., c]))
            large = channel.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            found[i, ..., c] = np.asarray(large)
    return found.clip(0, 1)

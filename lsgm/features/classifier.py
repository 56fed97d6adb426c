"""Features of images, by which distances between sets of images are measured.

An extractor is a frozen dataclass that a config names, with an honest ``name``
(what a report prints in brackets after a distance), ``dim``, and a call

    images [n h w c] in [0, 1] -> features [n dim].                        (1)

A classifier's features are divided by their root mean variance over its own training
images, so that tr C = dim for those, and distances read in that unit. Distances under
one extractor compare with each other and with nothing else.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import jax.numpy as jnp
import numpy as np

from lsgm.features import weights_file
from lsgm.features.sharded import over_devices
from lsgm.networks.classifier import ConvClassifier
from lsgm.typing import Array, Float, Int, Params

# Below so many samples published names carry their number.
ENOUGH = 10_000


class Extractor(Protocol):
    """Contract, Eq. (1)."""

    @property
    def name(self) -> str:
        """What the features are, for reports."""
        ...

    @property
    def dim(self) -> int: ...

    @property
    def published(self) -> bool:
        """Whether distances under it carry the names of published ones, FID, KID."""
        ...

    @property
    def provenance(self) -> dict[str, Any]:
        """All that its features depend on; what a file records and another compares."""
        ...

    def __call__(
        self, images: Float[np.ndarray | Array, "n h w c"]
    ) -> Float[np.ndarray, "n d"]: ...


def check_weights(extractor: Any) -> None:
    """Read what an extractor records of its weights, which checks them.

    Raises:
      lsgm.features.weights_file.WeightsError: they are missing, or are not those that
        it records.
    """
    _ = extractor.provenance


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierFeatures:
    """Penultimate features of a classifier that this package trained.

    Attributes:
      weights: an npz with its provenance beside it, as
        ``experiments/train_features.py`` writes them: the name of one that ships
        (``lsgm/features/weights``) or a path.
      batch_size: images per call of the network.
    """

    weights: str = "digit_cnn.npz"
    batch_size: int = 100

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size = {self.batch_size}: must be at least 1")
        try:
            weights_file.read_provenance(self.path)
        except weights_file.WeightsError as error:
            raise ValueError(f"weights = {self.weights!r}: {error}") from error

    published: ClassVar[bool] = False

    @property
    def path(self) -> pathlib.Path:
        """Where the weights are."""
        shipped = weights_file.FOLDER / self.weights
        return shipped if shipped.is_file() else pathlib.Path(self.weights)

    @property
    def provenance(self) -> dict[str, Any]:
        """How the weights came about: data, recipe, held-out accuracy, SHA-256."""
        return weights_file.read_provenance(self.path)

    @property
    def name(self) -> str:
        return self.provenance["name"]

    @property
    def dim(self) -> int:
        return self.provenance["network"]["num_features"]

    def __call__(
        self, images: Float[np.ndarray | Array, "n h w c"]
    ) -> Float[np.ndarray, "n d"]:
        """Features, Eq. (1), float32.

        Raises:
          ValueError: images of another shape than the classifier was trained on,
            or outside [0, 1].
          weights_file.WeightsError: the weights are not those of the provenance.
        """
        return _features(self.path, self.batch_size)(self._checked(images))

    def classify(
        self, images: Float[np.ndarray | Array, "n h w c"]
    ) -> Int[np.ndarray, " n"]:
        """The likeliest class of each image; raises as the features do."""
        logits = _logits(self.path, self.batch_size)(self._checked(images))
        return logits.argmax(1)

    def _checked(
        self, images: Float[np.ndarray | Array, "n h w c"]
    ) -> Float[np.ndarray, "n h w c"]:
        images = check_range(np.asarray(images, np.float32))
        shape = tuple(self.provenance["image_shape"])
        if images.shape[1:] != shape:
            raise ValueError(
                f"images are {images.shape[1:]}; {self.name} takes {shape}"
            )
        return images


def check_range(images: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n h w c"]:
    """The images; raises a ValueError unless all values are in [0, 1]."""
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"images span [{images.min()}, {images.max()}], not within [0, 1]"
        )
    return images


def as_colour(images: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n h w 3"]:
    """Colour images as they are, grey ones as three equal channels; raises a
    ValueError for others."""
    if images.shape[3] not in (1, 3):
        raise ValueError(f"images have {images.shape[3]} channels; 1 or 3 are taken")
    return images.repeat(3, axis=3) if images.shape[3] == 1 else images


def frechet_name(extractor: Any, num: int) -> str:
    """Honest name of a Frechet distance of ``num`` samples: "FD_500 (digit CNN)",
    "FID_500", and from 10,000 samples on "FID"."""
    return _name("FID", "FD", extractor, num)


def kernel_name(extractor: Any, num: int) -> str:
    """Honest name of a kernel distance: "KD_500 (digit CNN)", "KID_500", "KID"."""
    return _name("KID", "KD", extractor, num)


def _name(published: str, own: str, extractor: Any, num: int) -> str:
    if not extractor.published:
        return f"{own}_{num} ({extractor.name})"
    return published if num >= ENOUGH else f"{published}_{num}"


@functools.cache
def _features(
    path: pathlib.Path, batch_size: int
) -> Callable[[np.ndarray], np.ndarray]:
    params, provenance = weights_file.read(path), weights_file.read_provenance(path)
    network = ConvClassifier(**provenance["network"])

    def features(params: Params, x: Array) -> Array:
        raw = network.apply({"params": params}, x, method=network.features)
        return jnp.asarray(raw) / provenance["feature_scale"]

    return over_devices(features, params, batch_size)


@functools.cache
def _logits(path: pathlib.Path, batch_size: int) -> Callable[[np.ndarray], np.ndarray]:
    params, provenance = weights_file.read(path), weights_file.read_provenance(path)
    network = ConvClassifier(**provenance["network"])

    def logits(params: Params, x: Array) -> Array:
        return jnp.asarray(network.apply({"params": params}, x))

    return over_devices(logits, params, batch_size)

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
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.evaluation import weights_file
from lsgm.networks.classifier import ConvClassifier
from lsgm.typing import Array, Float, Params

DIGIT_CNN = weights_file.FOLDER / "digit_cnn.npz"


class Extractor(Protocol):
    """Contract, Eq. (1)."""

    @property
    def name(self) -> str:
        """What the features are, for reports."""
        ...

    @property
    def dim(self) -> int: ...

    def __call__(
        self, images: Float[np.ndarray | Array, "n h w c"]
    ) -> Float[np.ndarray, "n d"]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierFeatures:
    """Penultimate features of a classifier that this package trained.

    Attributes:
      weights: path of an npz with its provenance beside it; None for the digit
        classifier that ships, trained by ``experiments/train_features.py``.
      batch_size: images per call of the network.
    """

    weights: str | None = None
    batch_size: int = 250

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size = {self.batch_size}: must be at least 1")
        try:
            weights_file.read_provenance(self.path)
        except weights_file.WeightsError as error:
            raise ValueError(f"weights = {self.weights!r}: {error}") from error

    @property
    def path(self) -> pathlib.Path:
        """Where the weights are."""
        return DIGIT_CNN if self.weights is None else pathlib.Path(self.weights)

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
        images = np.asarray(images, np.float32)
        shape = tuple(self.provenance["image_shape"])
        if images.shape[1:] != shape:
            raise ValueError(
                f"images are {images.shape[1:]}; {self.name} takes {shape}"
            )
        if not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(
                f"images span [{images.min()}, {images.max()}], not within [0, 1]"
            )
        apply = _features(self.path)
        batches = [
            np.asarray(apply(_filled(images[i : i + self.batch_size], self.batch_size)))
            for i in range(0, len(images), self.batch_size)
        ]
        return np.concatenate(batches)[: len(images)]


def _filled(images: np.ndarray, size: int) -> Array:
    """A short last batch filled up, so that every batch has the compiled shape."""
    missing = size - len(images)
    return jnp.asarray(np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0))))


@functools.cache
def _features(path: pathlib.Path) -> Callable[[Array], Array]:
    params, provenance = weights_file.read(path), weights_file.read_provenance(path)
    network = ConvClassifier(**provenance["network"])

    @jax.jit
    def features(params: Params, x: Array) -> Array:
        raw = network.apply({"params": params}, x, method=network.features)
        return jnp.asarray(raw) / provenance["feature_scale"]

    return functools.partial(features, params)

r"""Train the classifier whose features measure images of one data set.

Cross-entropy with Adam and a cosine schedule, under light augmentation: each
image is seen through a small random affine map, and one in four binarised,

    x'(p) = x(A p + s),   A = rotation(a) * scale,  s in pixels,           (1)

because generators of this package are trained on grey and on dynamically
binarised digits alike, and features must make sense of both.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Integer

from lsgm.config import ConfigError
from lsgm.data.images import Images
from lsgm.data.pipeline import Data, require_kind
from lsgm.features import weights_file
from lsgm.features.sharded import over_devices
from lsgm.interpreter import evaluate
from lsgm.networks.classifier import ConvClassifier
from lsgm.networks.initialize import initialize
from lsgm.typing import Array, Float, Params, UInt8

EVALUATED_AT_ONCE = 500


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Ranges of the random map of Eq. (1): each value is drawn uniformly in plus or
    minus its range; ``binarized`` is a share of images."""

    degrees: float = 12.0
    scale: float = 0.1
    shift: float = 2.0
    binarized: float = 0.25

    def __call__(
        self, rng: np.random.Generator, images: UInt8[np.ndarray, "n h w c"]
    ) -> Float[np.ndarray, "n h w c"]:
        """Random views of images (bytes), float32 in [0, 1]."""
        moved = np.stack([self._moved(rng, image) for image in images])
        binary = (rng.random(moved.shape) < moved).astype(np.float32)
        coin = rng.random(len(images)) < self.binarized
        return np.where(coin[:, None, None, None], binary, moved)

    def _moved(
        self, rng: np.random.Generator, image: UInt8[np.ndarray, "h w c"]
    ) -> Float[np.ndarray, "h w c"]:
        from scipy.ndimage import affine_transform

        turn, scale, *shift = rng.uniform(-1, 1, 4)
        angle, factor = np.deg2rad(self.degrees * turn), 1 + self.scale * scale
        cos, sin = factor * np.cos(angle), factor * np.sin(angle)
        matrix = np.array([[cos, -sin], [sin, cos]])
        centre = (np.array(image.shape[:2]) - 1) / 2
        offset = centre - matrix @ centre + self.shift * np.array(shift)
        affine = np.column_stack([matrix, offset])
        channels = [
            affine_transform(channel, affine, order=1)
            for channel in np.moveaxis(image.astype(np.float32) / 255, 2, 0)
        ]
        return np.stack(channels, axis=2).clip(0, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the shipped weights are trained."""

    num_features: int = 64
    width: int = 16
    num_epochs: int = 40
    batch_size: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    augmentation: Augmentation = Augmentation()
    seed: int = 0

    def network(self, num_classes: int) -> ConvClassifier:
        """The classifier that this recipe trains."""
        return ConvClassifier(
            num_classes=num_classes, num_features=self.num_features, width=self.width
        )


def fit(
    recipe: Recipe,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, " n"],
) -> Params:
    """Parameters after ``num_epochs`` passes over the training images (bytes).

    Raises:
      ConfigError: there is no full batch of images.
    """
    if len(images) < recipe.batch_size:
        raise ConfigError(
            "data.source", f"{len(images)} images", f"give at least {recipe.batch_size}"
        )
    network = recipe.network(int(labels.max()) + 1)
    steps = len(images) // recipe.batch_size
    key = jax.random.key(recipe.seed)
    params = initialize(network, key, jnp.zeros((1, *images.shape[1:])))["params"]
    schedule = optax.cosine_decay_schedule(
        recipe.learning_rate, steps * recipe.num_epochs
    )
    optimizer = optax.adamw(schedule, weight_decay=recipe.weight_decay)
    step = make_step(network, optimizer)
    state: Any = (params, evaluate(optimizer.init, params))
    for epoch in range(recipe.num_epochs):
        rng = np.random.default_rng((recipe.seed, epoch))
        order = rng.permutation(len(images))[: steps * recipe.batch_size]
        losses = []
        # A loop of calls, not a scan: XLA runs a convolution inside a loop on one
        # CPU thread, ten times slower.
        for members in order.reshape(steps, recipe.batch_size):
            seen = recipe.augmentation(rng, images[members])
            state, loss = step(state, seen, labels[members].astype(np.int32))
            losses.append(loss)
        mean = float(np.mean(jax.device_get(losses)))
        print(f"epoch {epoch + 1}/{recipe.num_epochs}  loss {mean:.4f} nats")
    return state[0]


def make_step(
    network: ConvClassifier, optimizer: optax.GradientTransformation
) -> Callable[..., Any]:
    """Compiled ``(state, images in [0, 1], labels) -> (state, loss)``, where a state is
    (params, opt)."""

    def step(state: Any, x: Array, labels: Array) -> Any:
        def loss_of(params: Params) -> Array:
            logits = jnp.asarray(network.apply({"params": params}, x))
            return optax.softmax_cross_entropy_with_integer_labels(
                logits, labels
            ).mean()

        params, opt = state
        loss, grads = jax.value_and_grad(loss_of)(params)
        # optax takes the power of a float by its int32 count.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt = optimizer.update(grads, opt, params)
        return (optax.apply_updates(params, updates), opt), loss

    return jax.jit(step)


def everything(data: Data, split: str) -> dict[str, np.ndarray]:
    """All images (bytes, [n h w c]) and labels [n] of a split.

    Raises:
      ConfigError: the data have no labels.
    """
    store = require_kind(data, Images, "data").open(split)
    if "label" not in store.take(np.array([0])):
        raise ConfigError("data.source", data.origin, "has no labels to learn")
    return store.take(np.arange(len(store)))


def outputs(
    function: Callable[[Params, Array], Any],
    params: Params,
    images: UInt8[np.ndarray, "n h w c"],
) -> Float[np.ndarray, "n d"]:
    """``function`` of images (bytes), many at a time."""
    mapped = over_devices(function, params, EVALUATED_AT_ONCE)
    return mapped(images.astype(np.float32) / np.float32(255))


def accuracy(
    network: ConvClassifier,
    params: Params,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, " n"],
) -> float:
    """Share of images (bytes) whose most probable class is right."""
    logits = outputs(lambda p, x: network.apply({"params": p}, x), params, images)
    return float(np.mean(np.argmax(logits, 1) == labels))


def feature_scale(
    network: ConvClassifier, params: Params, images: UInt8[np.ndarray, "n h w c"]
) -> float:
    """Root mean variance of the features of images (bytes), over all dimensions."""
    features = outputs(
        lambda p, x: network.apply({"params": p}, x, method=network.features),
        params,
        images,
    )
    return float(np.sqrt(features.astype(np.float64).var(axis=0).mean()))


def train_and_write(
    recipe: Recipe, data: Data, name: str, path: pathlib.Path, command: str
) -> dict[str, Any]:
    """Train on the train split and write weights with provenance.

    Args:
      data: with labels, and a split ``train``; accuracy is measured on every split.
      name: what the features are called in reports.
      path: the weights, ``.npz``; the provenance stands beside it as ``.json``.
      command: that makes them anew.

    Returns:
      The provenance; what it reports is measured on the weights as stored.

    Raises:
      ConfigError: the data have no labels, or too few images.
    """
    splits = {split: everything(data, split) for split in data.splits()}
    images, labels = splits["train"]["levels"], splits["train"]["label"]
    params = fit(recipe, images, labels)
    network = recipe.network(int(labels.max()) + 1)
    stored = weights_file.rounded(params)
    provenance = {
        "name": name,
        "data": data.origin,
        "command": command,
        "num_train": len(images),
        "image_shape": list(images.shape[1:]),
        "network": {
            "num_classes": network.num_classes,
            "num_features": network.num_features,
            "width": network.width,
        },
        "feature_scale": feature_scale(network, stored, images),
        "recipe": dataclasses.asdict(recipe),
        "accuracy": {
            split: accuracy(network, stored, examples["levels"], examples["label"])
            for split, examples in splits.items()
        },
        "versions": {m.__name__: m.__version__ for m in (jax, flax, optax)},
    }
    return weights_file.write(path, stored, provenance)

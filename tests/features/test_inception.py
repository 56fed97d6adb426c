"""What happens to images before Inception, and to weights before they count."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from lsgm.config import ConfigError, build
from lsgm.features import inception
from lsgm.features.classifier import frechet_name, kernel_name
from lsgm.features.inception import (
    PUBLISHED_SHA256,
    InceptionFeatures,
    pillow_bicubic,
    resized,
    scaled,
)
from lsgm.features.weights_file import WeightsError

TARGET = "lsgm.features.inception:InceptionFeatures"


def _images(n=3, size=32, channels=3):
    shape = (n, size, size, channels)
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.fixture
def corners(tmp_path, monkeypatch):
    """An extractor whose network hands back 2048 of the values that it receives."""

    class Corners:
        def apply(self, variables, x):
            return x.reshape(len(x), -1)[:, :2048] + variables["params"]["shift"]

    path = tmp_path / "weights.npz"
    path.write_bytes(b"weights")
    shift = {"shift": np.float32(0)}
    monkeypatch.setattr(inception, "InceptionV3", Corners)
    monkeypatch.setattr(inception.inception_file, "read", lambda path: shift)

    def made(**fields):
        digest = hashlib.sha256(b"weights").hexdigest()
        return InceptionFeatures(**dict(weights=str(path), sha256=digest) | fields)

    inception._features.cache_clear()
    return made


def _interpolated(image, coordinates):
    """Linear interpolation of [h w c] at the same coordinates on both axes, edges
    held."""
    grid = np.meshgrid(coordinates, coordinates, indexing="ij")
    channels = [
        map_coordinates(image[..., c], grid, order=1, mode="nearest")
        for c in range(image.shape[2])
    ]
    return np.stack(channels, -1)


@pytest.mark.parametrize("size", [32, 256, 320])
def test_bilinear_is_interpolation_at_centres_or_corners_eq1(size):
    image, target = _images(1, size)[0], np.arange(299)
    centres = (target + 0.5) * size / 299 - 0.5
    for how, coordinates in (
        ("bilinear", centres),
        ("bilinear_corner", target * size / 299),
    ):
        found = np.asarray(resized(jnp.asarray(image[None]), how))[0]
        np.testing.assert_allclose(found, _interpolated(image, coordinates), atol=1e-5)


@pytest.mark.parametrize("size", [32, 640])
def test_antialiased_is_jax_and_pillow(size):
    images = _images(1, size)
    found = np.asarray(resized(jnp.asarray(images), "bilinear_antialiased"))
    theirs = jax.image.resize(images, (1, 299, 299, 3), "bilinear", antialias=True)
    np.testing.assert_allclose(found, theirs, atol=5e-5)
    channel = Image.fromarray(np.ascontiguousarray(images[0, ..., 0]))
    pillow = channel.resize((299, 299), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(found[0, ..., 0], pillow, atol=1e-5)


def test_pillow_bicubic_is_a_cubic_and_stays_in_range():
    """Cubic with a = -1/2 is exact for quadratics inside; edges overshoot."""
    x = (np.arange(32) + 0.5) / 32
    image = np.broadcast_to((x**2)[:, None, None], (32, 32, 1)).astype(np.float32)
    found = pillow_bicubic(image[None])[0, :, 150, 0]
    expected = ((np.arange(299) + 0.5) / 299) ** 2
    np.testing.assert_allclose(found[30:-30], expected[30:-30], atol=1e-5)
    edge = pillow_bicubic(np.float32(np.indices((1, 32, 32, 1))[1] > 15))
    assert edge.min() == 0 and edge.max() == 1


def test_an_image_of_299_pixels_stays_as_it_is():
    images = _images(1, 299)
    for how in ("bilinear", "bilinear_corner", "bilinear_antialiased"):
        np.testing.assert_array_equal(resized(jnp.asarray(images), how), images)
    np.testing.assert_allclose(pillow_bicubic(images), images, atol=1e-6)


def test_scalings():
    x = jnp.asarray([0, 128 / 255, 1]).reshape(1, 1, 3, 1)
    symmetric = np.asarray(scaled(x, "symmetric")).ravel()
    np.testing.assert_allclose(symmetric, [-1, 1 / 255, 1], atol=1e-6)
    graph = np.asarray(scaled(x, "graph")).ravel()
    np.testing.assert_allclose(graph, [-1, 0, 127 / 128], atol=1e-6)


def test_images_reach_the_network_as_named(corners):
    images = _images(5, 299, 1)
    plain = corners(batch_size=2)(images)
    assert plain.shape == (5, 2048) and plain.dtype == np.float32
    expected = 2 * images.repeat(3, 3).reshape(5, -1)[:, :2048] - 1
    np.testing.assert_allclose(plain, expected, atol=1e-6)
    rounded = corners(round_to_8_bits=True)(images)
    levels = (rounded + 1) / 2 * 255
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
    assert np.abs(rounded - plain).max() <= 1 / 255 + 1e-6
    cubic = corners(resize="bicubic_pillow")(images)
    np.testing.assert_allclose(cubic, plain, atol=1e-5)
    graph = corners(scaling="graph")(images)
    np.testing.assert_allclose(128 * graph + 128, 127.5 * (plain + 1), atol=1e-3)


def test_provenance_says_all_and_not_where(corners):
    found = corners(resize="bilinear_corner").provenance
    assert found["resize"] == "bilinear_corner"
    assert found["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert not any("/" in str(value) for value in found.values())


def test_only_the_published_file_gives_published_names(corners):
    own, published = corners(), InceptionFeatures(weights="elsewhere.pth")
    assert published.sha256 == PUBLISHED_SHA256
    assert PUBLISHED_SHA256.startswith("6726825d")
    assert frechet_name(published, 10_000) == "FID"
    assert frechet_name(published, 9_999) == "FID_9999"
    assert kernel_name(published, 50_000) == "KID"
    assert kernel_name(published, 500) == "KID_500"
    name = f"Inception {own.sha256[:8]}"
    assert frechet_name(own, 50_000) == f"FD_50000 ({name})"
    assert kernel_name(own, 50_000) == f"KD_50000 ({name})"


def test_refuses_other_weights_than_stated(corners, tmp_path):
    stated = "0" * 64
    for extractor, message in (
        (corners(sha256=stated), f"but the config states {stated}"),
        (corners(weights=str(tmp_path / "none.pth")), "none.pth: no such file"),
    ):
        with pytest.raises(WeightsError, match=message):
            extractor(_images(1))


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(sha256="6726825d"), "64 hexadecimal digits"),
        (dict(resize="bicubic"), "bicubic_pillow"),
        (dict(scaling="imagenet"), "symmetric"),
        (dict(batch_size=0), "batch_size = 0"),
    ],
)
def test_a_config_names_it(fields, message):
    spec = {"target": TARGET, "weights": "w.pth"}
    assert build(spec).dim == 2048
    with pytest.raises(ConfigError, match=message):
        build(spec | fields, "evaluation.extractor")


@pytest.mark.parametrize(
    "images, message",
    [
        (np.full((1, 32, 32, 3), 255, np.float32), r"not within \[0, 1\]"),
        (np.zeros((1, 32, 32, 2), np.float32), "2 channels"),
    ],
)
def test_refuses_images_that_are_none(corners, images, message):
    with pytest.raises(ValueError, match=message):
        corners()(images)


@pytest.mark.slow
def test_a_file_of_random_weights_gives_features(tmp_path):
    """The whole way: file, hash, layout, resize, network on all devices."""
    from tests.interop.test_inception_file import state

    tensors = {
        name: (tensor - 0.5) * np.sqrt(6 / np.prod(tensor.shape[1:]))
        if name.endswith("conv.weight")
        else tensor + 0.1
        for name, tensor in state().items()
    }
    np.savez(tmp_path / "w.npz", **tensors)
    digest = hashlib.sha256((tmp_path / "w.npz").read_bytes()).hexdigest()
    extractor = InceptionFeatures(
        weights=str(tmp_path / "w.npz"), sha256=digest, batch_size=2
    )
    images = _images(3)
    found = extractor(images)
    assert found.shape == (3, 2048) and np.isfinite(found).all()
    assert found.min() >= 0 and found.std(0).mean() > 0
    np.testing.assert_allclose(extractor(images[2:]), found[2:], rtol=1e-4, atol=1e-5)

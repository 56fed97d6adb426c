"""What happens to images before MobileNetV2, and to weights before they count."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lsgm.config import ConfigError, build
from lsgm.features import mobilenet
from lsgm.features.classifier import frechet_name, kernel_name
from lsgm.features.mobilenet import (
    PACKAGED_SHA256,
    MobileNetFeatures,
    normalised,
    resized,
)
from lsgm.features.weights_file import WeightsError
from lsgm.interop import mobilenet_file
from tests.interop import torch_bytes
from tests.interop.test_mobilenet_file import state
from tests.networks.test_mobilenet import TINY

TARGET = "lsgm.features.mobilenet:MobileNetFeatures"


def _images(n=3, size=64, channels=3):
    shape = (n, size, size, channels)
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """An extractor of a small network, from a file as PyTorch writes it."""
    content = torch_bytes.sequence(state(TINY))
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    monkeypatch.setattr(mobilenet, "MobileNetV2", lambda: TINY)

    def made(**fields):
        digest = hashlib.sha256(content).hexdigest()
        return MobileNetFeatures(**dict(weights=str(path), sha256=digest) | fields)

    mobilenet._features.cache_clear()
    return made


def test_file_to_features(tiny, tmp_path):
    """The whole way is the network on normalised images; grey is three channels."""
    images = _images(5, channels=1)
    found = tiny(batch_size=2)(images)
    assert found.shape == (5, 5) and found.dtype == np.float32
    params = mobilenet_file.read(tmp_path / "w.pt", TINY)
    mean, deviation = np.float32([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    colour = (images.repeat(3, 3) - mean) / deviation
    expected = jax.jit(TINY.apply)({"params": params}, colour)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.std(0).max() > 0


def test_resize_is_pillows_and_leaves_its_own_size_alone():
    for size in (28, 128):
        images = _images(1, size)
        found = np.asarray(resized(jnp.asarray(images), 64))
        channel = Image.fromarray(np.ascontiguousarray(images[0, ..., 1]))
        expected = channel.resize((64, 64), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(found[0, ..., 1], expected, atol=1e-5)
    images = _images()
    np.testing.assert_array_equal(resized(jnp.asarray(images), 64), images)
    assert resized(jnp.asarray(images), 96).shape == (3, 96, 96, 3)


def test_normalisation_by_hand_eq1():
    x = jnp.asarray([0.485, 0.456 + 0.224, 0.0]).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(
        np.asarray(normalised(x)).ravel(), [0, 1, -0.406 / 0.225], atol=1e-6
    )


def test_name_is_honest_and_says_whose_weights(tiny):
    packaged = MobileNetFeatures(weights="elsewhere.pt")
    assert packaged.sha256 == PACKAGED_SHA256 and packaged.dim == 1280
    assert frechet_name(packaged, 50_000) == "FD_50000 (MobileNetV2)"
    assert kernel_name(packaged, 500) == "KD_500 (MobileNetV2)"
    assert tiny().name == f"MobileNetV2 {tiny().sha256[:8]}"
    assert not packaged.published and not tiny().published


def test_provenance_says_all_and_not_where(tiny):
    found = tiny(resolution=96).provenance
    assert found == {
        "name": tiny().name,
        "sha256": tiny().sha256,
        "resolution": 96,
        "resize": "bilinear_antialiased",
    }


def test_refuses_other_weights_than_stated(tiny, tmp_path):
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(b"PK\x03\x04")
    digest = hashlib.sha256(damaged.read_bytes()).hexdigest()
    for fields, message in (
        (dict(sha256=PACKAGED_SHA256), f"but the config states {PACKAGED_SHA256}"),
        (dict(weights=str(tmp_path / "none.pt")), "none.pt: no such file"),
        (dict(weights=str(damaged), sha256=digest), "damaged.pt is damaged"),
    ):
        with pytest.raises(WeightsError, match=message):
            tiny(**fields)(_images(1))


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(sha256="2f518e77"), "64 hexadecimal digits"),
        (dict(resolution=65), "one of 64, 96"),
        (dict(batch_size=0), "batch_size = 0"),
    ],
)
def test_a_config_names_it(fields, message):
    spec = {"target": TARGET, "weights": "w.pt", "resolution": 64}
    found = build(spec)
    assert found == MobileNetFeatures(weights="w.pt")
    with pytest.raises(ConfigError, match=message):
        build(spec | fields, "evaluation.extractor")


@pytest.mark.parametrize(
    "images, message",
    [
        (np.full((1, 64, 64, 3), 255, np.float32), r"not within \[0, 1\]"),
        (np.full((1, 64, 64, 3), -0.5, np.float32), r"not within \[0, 1\]"),
        (np.zeros((1, 64, 64, 2), np.float32), "2 channels"),
    ],
)
def test_refuses_images_that_are_none(tiny, images, message):
    with pytest.raises(ValueError, match=message):
        tiny()(images)

"""Reference statistics: whole, reproducible, and refused where they do not fit."""

import dataclasses
import json

import numpy as np
import pytest

from lsgm.config import ConfigError
from lsgm.data.images import Images
from lsgm.data.sources.mnist5k import MNIST5k
from lsgm.features import reference
from lsgm.features.real_images import real_images, some_real_images
from lsgm.features.reference import Reference

DATA = Images(source=MNIST5k(), image_shape=(28, 28, 1), num_bits=1, binarize="dynamic")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pooled:
    """Means over 7x7 squares."""

    version: int = 1
    name = "pooled pixels"
    dim = 16
    published = False

    @property
    def provenance(self):
        return {"name": self.name, "version": self.version}

    def __call__(self, images):
        n = len(images)
        return images.reshape(n, 4, 7, 4, 7).mean((2, 4)).reshape(n, 16)


def _built(split="validation", **options):
    options = dict(num_bits=8, batch_size=64) | options
    return reference.build(DATA, split, Pooled(), **options)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "ref.npz"
    reference.write(path, _built(num_features=100))
    return path


def _load(path, data=DATA, extractor=Pooled(), num_bits=8):
    return reference.load(Reference(path=str(path)), data, extractor, num_bits)


@pytest.mark.parametrize("batch_size", [64, 77, 500, 501])
def test_no_image_is_dropped_or_seen_twice(batch_size):
    """500 images leave a remainder in most batch sizes."""
    batches = list(real_images(DATA, "validation", batch_size))
    assert len(batches[-1]) == (500 % batch_size or batch_size) % 501
    whole = MNIST5k().open("validation").images.astype(np.float32) / 255
    np.testing.assert_array_equal(np.concatenate(batches), whole)
    sampled = _built(batch_size=batch_size).sampled
    features = Pooled()(whole)
    assert sampled.moments.count == 500
    np.testing.assert_allclose(sampled.moments.mean, features.mean(0), rtol=1e-6)
    np.testing.assert_allclose(
        sampled.moments.covariance, np.cov(features.T.astype(np.float64)), rtol=1e-6
    )
    np.testing.assert_allclose(sampled.features, features, atol=1e-7)


def test_bits_are_those_asked_for():
    levels = np.concatenate(list(real_images(DATA, "validation", 64, num_bits=3)))
    whole = MNIST5k().open("validation").images
    np.testing.assert_allclose(levels, (whole // 32) / 7, atol=1e-6)
    some = some_real_images(DATA, "validation", 20, num_bits=3)
    assert some.shape == (20, 28, 28, 1)
    assert all(any(np.array_equal(x, y) for y in levels) for x in some)


def test_kept_features_are_a_random_part():
    found = _built(num_features=100).sampled
    assert found.moments.count == 500 and found.features.shape == (100, 16)
    everything = _built().sampled.features
    where = [
        int(np.argmin(np.abs(everything - f[None]).sum(1))) for f in found.features
    ]
    assert len(set(where)) == 100 and np.ptp(where) > 400


def test_what_is_written_is_read_and_says_how_it_came_about(written):
    found, built = _load(written), _built(num_features=100)
    for a, b in zip(found.sampled.moments, built.sampled.moments, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(found.sampled.features, built.sampled.features)
    record = Reference(path=str(written)).provenance
    assert record["split"] == "validation" and record["num_images"] == 500
    assert record["num_bits"] == 8 and record["resize"] == "none"
    assert record["extractor"] == {"name": "pooled pixels", "version": 1}
    assert "MNIST5k" in record["source"]
    again = written.with_name("again.npz")
    assert reference.write(again, built) == record
    assert again.read_bytes() == written.read_bytes()


@pytest.mark.parametrize(
    "other, message",
    [
        (dict(extractor=Pooled(version=2)), "extractor.version = 1.* it is 2"),
        (dict(num_bits=5), "num_bits = 8.* it is 5"),
        (
            dict(data=dataclasses.replace(DATA, image_shape=(32, 32, 1))),
            r"image_shape = \[28, 28, 1\].* it is \[32, 32, 1\]",
        ),
        (
            dict(data=dataclasses.replace(DATA, resize="box")),
            "resize = 'none'.* it is 'box'",
        ),
    ],
)
def test_other_conditions_are_refused_by_name(written, other, message):
    with pytest.raises(ConfigError, match=message) as error:
        _load(written, **other)
    assert "config.evaluation.reference.path" in str(error.value)


def _changed(path, **arrays):
    with np.load(path) as file:
        np.savez(path, **({name: file[name] for name in file.files} | arrays))


def _with_record(path, **words):
    with np.load(path) as file:
        record = json.loads(file[reference.RECORD].tobytes()) | words
    _changed(path, record=np.frombuffer(json.dumps(record).encode(), np.uint8))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda p: p.unlink(), "no such file"),
        (lambda p: p.write_bytes(p.read_bytes()[:-500]), "damaged"),
        (lambda p: p.write_bytes(b"PK"), "damaged"),
        (lambda p: np.savez(p, mu=np.zeros(3)), "damaged, or no reference statistics"),
        (lambda p: _changed(p, mean=np.zeros(16)), "content_sha256"),
        (
            lambda p: _changed(p, features=np.zeros((3, 16), np.float32)),
            "content_sha256",
        ),
        (lambda p: _with_record(p, split="test"), "content_sha256"),
        (lambda p: _with_record(p, version=2), "version 2"),
    ],
)
def test_damaged_files_are_refused(written, spoil, message):
    spoil(written)
    with pytest.raises(ConfigError, match=message):
        _load(written)


def test_a_flipped_bit_is_found(written):
    data = bytearray(written.read_bytes())
    data[len(data) // 2] ^= 1
    written.write_bytes(data)
    with pytest.raises(ConfigError):
        _load(written)

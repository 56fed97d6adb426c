"""Codes of classes: label maps and tables from arrays, checked code by code."""

import numpy as np
import pytest

from configs.pieces import piece
from lsgm.config import ConfigError, build
from lsgm.data.categories import Categories
from lsgm.data.errors import DataError
from lsgm.data.sources.arrays import Npz
from lsgm.runs import experiment
from tests import tiny

MAPS = np.random.default_rng(0).integers(0, 5, (12, 4, 4), dtype=np.uint8)


@pytest.fixture
def source(tmp_path):
    """``source(x, y)``: an npz as all splits."""

    def make(x, y=None):
        path = tmp_path / "codes.npz"
        np.savez(path, x=x, **({} if y is None else {"y": y}))
        return Npz(train=str(path), validation=str(path), test=str(path))

    return make


def test_label_maps(source):
    labels = np.arange(12) % 3
    data = Categories(source=source(MAPS, labels), shape=(4, 4, 1), num_classes=5)
    batch = data.eval_batches("test", 5, 7).batch(1)
    np.testing.assert_array_equal(batch["levels"][:2, ..., 0], MAPS[5:7])
    np.testing.assert_array_equal(batch["label"][:2], labels[5:7])
    assert data.num_bits == 3 and data.max_level == 4 and data.unit == "dim"
    np.testing.assert_array_equal(data.units(batch), np.full(5, 16.0))


def test_a_table_with_columns_of_unequal_classes(source):
    rows = np.array([[4, 1, 0], [0, 0, 1]], np.uint8)[:, :, None]
    fields = dict(shape=(3, 1, 1), num_classes=5, allowed=((1, 5), (2, 2)))
    data = Categories(source=source(rows), **fields)
    np.testing.assert_array_equal(data.open("train").codes[..., 0], rows)
    rows[1, 2] = 2
    data = Categories(source=source(rows), **fields)
    with pytest.raises(DataError, match=r"\[1\] holds code 2 at \(2, 0, 0\)") as error:
        data.open("train")
    assert error.value.argument == "allowed"


def config(path, num_classes, likelihood=None):
    """The tiny experiment on label maps of K classes."""
    made = tiny.config().to_dict()
    where = dict.fromkeys(("train", "validation", "test"), str(path))
    made["data"] = piece(
        "data.categories:Categories",
        source=piece("data.sources.arrays:Npz", **where),
        shape=(4, 4, 1),
        num_classes=num_classes,
    )
    made["vae"] = piece(
        "vae:VAE",
        data_shape=(4, 4, 1),
        network=piece(
            "networks.categorical:OneHotInput",
            num_classes=likelihood or num_classes,
            network=piece(
                "networks.conv:ConvVAE",
                channels=(4,),
                latent_channels=2,
                num_outputs=likelihood or num_classes,
            ),
        ),
        likelihood=piece(
            "categorical:CategoricalLikelihood",
            num_classes=likelihood or num_classes,
        ),
    )
    return made


def test_a_code_out_of_range_is_an_error_of_the_config(tmp_path):
    np.savez(tmp_path / "c.npz", x=MAPS)
    with pytest.raises(ConfigError, match=r"c.npz\[0\] holds code 4 at") as error:
        experiment.from_config(config(tmp_path / "c.npz", 4))
    assert error.value.key == "data.num_classes"


def test_a_likelihood_of_other_classes_is_refused(tmp_path):
    """Also where the bits are as many."""
    with pytest.raises(ConfigError, match=r"levels 0 \.\. 5, and .* 0 \.\. 4"):
        experiment.described(config(tmp_path / "c.npz", 5, likelihood=6))


def test_other_runs_than_the_data_are_refused(tmp_path):
    made = config(tmp_path / "c.npz", 5)
    made["data"]["allowed"] = ((8, 5), (8, 2))
    with pytest.raises(ConfigError, match=r"must equal data.allowed, \(\(8, 5\)"):
        experiment.described(made)


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(num_classes=1), "allowed are 2 to 256"),
        (dict(num_classes=257), "allowed are 2 to 256"),
        (dict(shape=(0, 1, 1)), "at least 1"),
        (dict(allowed=((2, 3),)), "runs over 3 places"),
    ],
)
def test_impossible_fields(fields, message):
    spec = dict(source=piece("data.sources.mnist5k:MNIST5k"), shape=(3, 1, 1))
    with pytest.raises(ConfigError, match=message):
        build(piece("data.categories:Categories", num_classes=3) | spec | fields)


def test_another_shape_is_refused(source):
    data = Categories(source=source(MAPS), shape=(4, 5, 1), num_classes=5)
    with pytest.raises(DataError, match=r"\[0\] is \(4, 4, 1\)"):
        data.open("train")

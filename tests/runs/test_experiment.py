"""Errors of the data under the keys of the config that described them."""

import pytest

from lsgm.config import ConfigError
from lsgm.data.errors import DataError
from lsgm.data.images import Images
from lsgm.data.sources.image_folder import ImageFolder
from lsgm.runs import experiment
from tests import tiny

DATA = Images(source=ImageFolder(root="nowhere"), image_shape=(8, 8, 1))


def test_a_fault_of_the_source_stands_under_its_key():
    with pytest.raises(ConfigError, match="no such folder") as error:
        with experiment.name_data_keys(DATA):
            DATA.open("train")
    assert str(error.value).startswith("config.data.source.root = 'nowhere': ")


@pytest.mark.parametrize(
    "argument, key",
    [
        ("root", "data.source.root"),
        ("image_shape", "data.image_shape"),
        ("split", "data.source"),
        ("batch_size", "batch_size"),
    ],
)
def test_arguments_have_keys(argument, key):
    with pytest.raises(ConfigError, match="7: too many") as error:
        with experiment.name_data_keys(DATA):
            raise DataError(argument, 7, "too many")
    assert error.value.key == key


def test_other_errors_pass():
    with pytest.raises(IndexError):
        with experiment.name_data_keys(DATA):
            raise IndexError


def test_an_experiment_without_its_data_is_refused_by_key():
    config = tiny.config()
    config.data.image_shape = (28, 28, 1)
    with config.unlocked():
        config.data.source = dict(
            target="lsgm.data.sources.image_folder:ImageFolder", root="nowhere"
        )
    with pytest.raises(ConfigError, match="nowhere.*no such folder") as error:
        experiment.from_config(config)
    assert error.value.key == "data.source.root"

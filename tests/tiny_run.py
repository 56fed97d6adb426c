"""The tiny experiment as a config file, for commands."""

from ml_collections import ConfigDict

from tests import tiny


def get_config() -> ConfigDict:
    return tiny.config()

"""The tiny experiment with one NaN in its second stage: ``loss@3``, ``gradient@0``."""

from typing import Any

from ml_collections import ConfigDict

from tests import tiny


def get_config(arg: str) -> ConfigDict:
    what, at = arg.split("@")
    config: Any = tiny.config()
    stage = config.stages.lsgm
    stage.prior.update(target="tests.spoiling:SpoiledScore", what=what, at=int(at))
    return config

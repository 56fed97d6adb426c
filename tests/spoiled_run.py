"""The tiny experiment with one NaN in its second stage: ``loss@3``, ``update@0``."""

from typing import Any

from ml_collections import ConfigDict

from tests import tiny


def get_config(arg: str) -> ConfigDict:
    what, at = arg.split("@")
    config: Any = tiny.config()
    stage = config.stages.lsgm
    if what == "update":
        stage.optimizers.prior.update(target="tests.spoiling:SpoiledAdam", at=int(at))
    else:
        stage.prior.update(target="tests.spoiling:SpoiledScore", what=what, at=int(at))
    return config

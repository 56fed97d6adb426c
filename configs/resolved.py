"""A resolved config, as a run's ``config.json`` holds it.

    python -m experiments.train --config=configs/resolved.py:runs/demo/config.json \
        --workdir=runs/again
"""

import json
import pathlib

from ml_collections import ConfigDict


def get_config(path: str) -> ConfigDict:
    """What stands in the file."""
    return ConfigDict(json.loads(pathlib.Path(path).read_text()))

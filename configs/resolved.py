"""A resolved config, as a run's ``config.json`` holds it.

    python -m experiments.train --config=configs/resolved.py:runs/demo/config.json \
        --workdir=runs/again
"""

import json
import pathlib

from ml_collections import ConfigDict


def get_config(path: str = "") -> ConfigDict:
    """What stands in the file."""
    if not path:
        raise ValueError("name the file after a colon, resolved.py:config.json")
    try:
        found = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{path} holds no config, but {str(found)[:40]}")
    return ConfigDict(found)

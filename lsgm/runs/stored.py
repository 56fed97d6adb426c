"""The form in which ``config.json`` and checkpoints hold a config."""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from lsgm.config import plain
from lsgm.moved import renew


def resolve(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """The config as it is stored today; one that was stored before in the names and
    fields of today."""
    return json.loads(json.dumps(renew(plain(config))))

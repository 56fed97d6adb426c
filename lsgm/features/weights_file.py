"""Weights that ship with the package: an npz file and its provenance beside it.

``<name>.npz`` holds float16 arrays by dotted parameter name; ``<name>.json`` says
what they are, how they came about, and the SHA-256 of the npz, which is checked
whenever they are read.
"""

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from lsgm.arrays import read_arrays
from lsgm.files import sha256, write_arrays, write_file
from lsgm.typing import Params

FOLDER = pathlib.Path(__file__).parent / "weights"


class WeightsError(RuntimeError):
    """Weights that are missing or are not what their provenance says."""


def rounded(params: Params) -> Params:
    """``params`` as they read after having been written: rounded to float16."""
    return jax.tree.map(
        lambda p: jnp.asarray(np.asarray(p, np.float16), jnp.float32), dict(params)
    )


def write(
    path: pathlib.Path, params: Params, provenance: dict[str, Any]
) -> dict[str, Any]:
    """Write ``params`` and, beside them, ``provenance`` with their SHA-256."""
    flat = flatten_dict(params, sep=".")
    arrays: dict[str, Any] = {k: np.asarray(v, np.float16) for k, v in flat.items()}
    write_arrays(path, arrays)
    provenance = provenance | {"sha256": sha256(path)}
    write_file(path.with_suffix(".json"), json.dumps(provenance, indent=2) + "\n")
    return provenance


def read_provenance(path: pathlib.Path) -> dict[str, Any]:
    """What stands beside the weights at ``path``.

    Raises:
      WeightsError: the weights or their provenance are missing.
    """
    for needed in (path, path.with_suffix(".json")):
        if not needed.is_file():
            raise WeightsError(f"{needed}: no such file")
    return json.loads(path.with_suffix(".json").read_text())


def read(path: pathlib.Path) -> Params:
    """Parameters in float32.

    Raises:
      WeightsError: a file is missing, or its hash is not the recorded one.
    """
    provenance, found = read_provenance(path), sha256(path)
    if found != provenance["sha256"]:
        raise WeightsError(
            f"{path}: SHA-256 is {found}, but {path.with_suffix('.json').name} "
            f"records {provenance['sha256']}; fetch the file again, or train it "
            f"anew with `{provenance['command']}`"
        )
    try:
        arrays = read_arrays(path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: {error}") from error
    flat = {name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()}
    return unflatten_dict(flat, sep=".")


def check_sha256(path: pathlib.Path, stated: str) -> None:
    """Check weights that the user supplies against the hash that a config states.

    Raises:
      WeightsError: no such file, or another one.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    if (found := sha256(path)) != stated:
        raise WeightsError(
            f"{path}: SHA-256 is {found}, but the config states {stated}"
        )

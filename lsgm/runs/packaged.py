"""Checkpoints that come with the package: ``package:<name>``.

``lsgm/assets/<name>.npz`` holds the parameters to sample with and the other
state of the networks; kernels are in half precision, all else as it was.
``<name>.json`` says where they come from, with the config and the first file's SHA-256.
"""

import hashlib
import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from lsgm.files import write_file
from lsgm.training.integrity import CheckpointError
from lsgm.typing import Params

PREFIX = "package:"
ASSETS = pathlib.Path(__file__).parents[1] / "assets"


class Packaged(NamedTuple):
    """What a checkpoint of the package holds.

    Attributes:
      params, mutables: by group, float32.
      meta: config, stage, step, and where it comes from.
      file: that of the arrays.
    """

    params: Params
    mutables: Params
    meta: dict[str, Any]
    file: pathlib.Path


def name_of(path: pathlib.Path | str) -> str | None:
    """The name in ``package:<name>``; None of any other path."""
    text = str(path)
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else None


def names() -> list[str]:
    """All that the package holds."""
    return sorted(path.stem for path in ASSETS.glob("*.json"))


def read(name: str) -> Packaged:
    """The checkpoint ``package:<name>``.

    Raises:
      CheckpointError: there is none of that name, or it is not what was written.
    """
    if name not in names():
        known = ", ".join(PREFIX + known for known in names()) or "none"
        raise CheckpointError(f"{PREFIX}{name} is not in this package; there: {known}")
    file = ASSETS / f"{name}.npz"
    try:
        meta, packed = (
            json.loads(file.with_suffix(".json").read_text()),
            file.read_bytes(),
        )
        if hashlib.sha256(packed).hexdigest() != meta["sha256"]:
            raise CheckpointError(f"damaged checkpoint {file}: its SHA-256 is another")
        with np.load(io.BytesIO(packed)) as arrays:
            flat = {key: jnp.asarray(arrays[key], jnp.float32) for key in arrays}
        flat |= {key: traverse_util.empty_node for key in meta["empty"]}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"damaged checkpoint {PREFIX}{name}: {error}") from error
    tree = traverse_util.unflatten_dict(flat, sep="/")
    return Packaged(tree["params"], tree["mutables"], meta, file)


def write(
    name: str, params: Params, mutables: Params, meta: Mapping[str, Any]
) -> pathlib.Path:
    """Put a checkpoint into the package, in the place of one of that name; returns
    the file of its arrays. Vectors of power iterations, for training alone, are left
    out."""
    kept = {
        group: {name: state for name, state in own.items() if name != "spectral"}
        for group, own in mutables.items()
    }
    tree = {"params": params, "mutables": kept}
    flat = traverse_util.flatten_dict(tree, keep_empty_nodes=True, sep="/")
    empty = [key for key, leaf in flat.items() if leaf is traverse_util.empty_node]
    packed = io.BytesIO()
    arrays: Any = {k: _packed(k, leaf) for k, leaf in flat.items() if k not in empty}
    np.savez_compressed(packed, **arrays)
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    file = ASSETS / f"{name}.npz"
    write_file(file, packed.getvalue())
    written = json.dumps({**meta, "empty": empty, "sha256": digest}, indent=1)
    write_file(file.with_suffix(".json"), written + "\n")
    return file


def _packed(key: str, leaf: Any) -> np.ndarray:
    """Kernels in half precision: what has a dimension of inputs and one of outputs."""
    array = np.asarray(leaf)
    is_kernel = key.startswith("params/") and array.ndim > 1
    return np.ascontiguousarray(array, np.float16 if is_kernel else array.dtype)

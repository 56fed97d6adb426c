"""How a checkpoint's arrays and words are told from damaged ones.

Words (``meta``) and ``index`` carry a CRC-32 of their own, of the JSON with sorted
keys: what was changed and still parses is damage all the same. Checkpoints from before
that have none and are held to their form only.
"""

import json
import pathlib
import zlib
from typing import Any

import jax
import numpy as np

CHECKS = "checks"
_REQUIRED = {"format": int, "config": dict, "stage": str, "step": int}
_ENTRY = {"shape": list, "dtype": str, "crc32": int}


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, found, or read."""


class CorruptError(CheckpointError):
    """A checkpoint whose files are damaged or missing."""


def seal(meta: dict[str, Any], index: dict[str, Any]) -> dict[str, Any]:
    """``meta`` with the checksums of itself and of ``index``."""
    return {**meta, CHECKS: {"meta": _json_crc(meta), "index": _json_crc(index)}}


def reseal(meta: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A sealed ``meta`` with some fields changed; one without a seal stays so."""
    plain = {k: v for k, v in meta.items() if k != CHECKS} | changed
    if CHECKS not in meta:
        return plain
    return {**plain, CHECKS: {**meta[CHECKS], "meta": _json_crc(plain)}}


def read_meta(folder: pathlib.Path) -> dict[str, Any]:
    """The words of a checkpoint, without their seal.

    Raises:
      CorruptError: unreadable, changed, or without a field that every one has.
    """
    meta = read_json(folder, "meta")
    _require(folder, "meta", meta, _REQUIRED)
    checks = _checks(folder, meta)
    plain = {k: v for k, v in meta.items() if k != CHECKS}
    if checks is not None and checks["meta"] != _json_crc(plain):
        raise CorruptError(f"damaged checkpoint {folder}: meta has changed")
    return plain


def read_index(folder: pathlib.Path) -> dict[str, Any]:
    """Shape, type and CRC-32 of every array, by its path in the state.

    Raises:
      CorruptError: unreadable, changed, empty, or not of that form.
    """
    index, meta = read_json(folder, "index"), read_json(folder, "meta")
    _require(folder, "meta", meta, _REQUIRED)
    _require(folder, "index", index, {})
    if not index:
        raise CorruptError(f"damaged checkpoint {folder}: index is empty")
    checks = _checks(folder, meta)
    if checks is not None and checks["index"] != _json_crc(index):
        raise CorruptError(f"damaged checkpoint {folder}: index has changed")
    for name, entry in index.items():
        _require(folder, f"index: {name}", entry, _ENTRY)
    return index


def read_json(folder: pathlib.Path, item: str) -> Any:
    """One item of a checkpoint as it stands there.

    Raises:
      CorruptError: there is none, or it is no JSON.
    """
    path = folder / item / "metadata"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptError(f"damaged checkpoint {folder}: {item}: {error}") from error


def make_index(state: Any, host: Any) -> dict[str, Any]:
    """Shape and type of ``state``'s arrays, and CRC-32 of their words on the host."""
    arrays = name_leaves(host)
    return {
        name: {
            "shape": list(leaf.shape),
            "dtype": str(leaf.dtype),
            "crc32": _crc(arrays[name]),
        }
        for name, leaf in name_leaves(state).items()
    }


def verify(
    folder: pathlib.Path, index: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    """Hold arrays that were read against the index.

    Raises:
      CorruptError: one has changed.
    """
    for name, array in arrays.items():
        if index[name]["crc32"] != _crc(array):
            raise CorruptError(f"damaged checkpoint {folder}: {name} has changed")


def compare_names(
    folder: pathlib.Path, index: dict[str, Any], fields: set[str], stored: set[str]
) -> None:
    """Hold names of stored arrays of some fields against the index.

    Raises:
      CorruptError: they differ, as where a flipped bit renames an array.
    """
    expected = {name for name in index if name.split("/")[0] in fields}
    if differing := sorted(expected ^ stored):
        name = differing[0]
        missing = "state" if name in expected else "index"
        raise CorruptError(f"damaged checkpoint {folder}: {missing} has no {name}")


def compare_states(
    folder: pathlib.Path, index: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """Refuse a checkpoint whose arrays are not those that the run needs.

    Raises:
      CheckpointError: lists the first ten that differ.
    """
    there = {name: f"{entry['dtype']}{entry['shape']}" for name, entry in index.items()}
    here = {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in wanted.items()}
    differing = [
        f"  {name}: {there.get(name, 'absent')} there, {here.get(name, 'absent')} now"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    if differing:
        more = f"\n  and {len(differing) - 10} more" if len(differing) > 10 else ""
        raise CheckpointError(
            f"{folder} holds another model's state:\n"
            + "\n".join(differing[:10])
            + more
        )


def name_leaves(tree: Any) -> dict[str, Any]:
    """Leaves by path, ``params/vae/...``: the same for a state and for the plain
    dictionaries and lists that its checkpoint holds."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(k, simple=True, separator="/"): v for k, v in flat}


def _checks(folder: pathlib.Path, meta: dict[str, Any]) -> dict[str, Any] | None:
    if CHECKS not in meta:
        return None
    _require(folder, CHECKS, meta[CHECKS], {"meta": int, "index": int})
    return meta[CHECKS]


def _require(
    folder: pathlib.Path, item: str, found: Any, fields: dict[str, type]
) -> None:
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise CorruptError(f"damaged checkpoint {folder}: {item} is no object: {kind}")
    for name, kind in fields.items():
        if not isinstance(found.get(name), kind):
            message = f"{item} has no {name} of type {kind.__name__}"
            raise CorruptError(f"damaged checkpoint {folder}: {message}")


def _json_crc(value: Any) -> int:
    # By way of JSON: a tuple comes back as a list, a number's key as a word.
    plain = json.loads(json.dumps(value))
    return zlib.crc32(json.dumps(plain, sort_keys=True).encode())


def _crc(array: np.ndarray) -> int:
    return zlib.crc32(array.tobytes())

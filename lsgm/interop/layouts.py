"""Tensors between published PyTorch state dicts and our parameter trees.

A mapping is a list of ``TensorRule``: a published name, where the tensor stands in our
tree, and how its axes are arranged. ``read`` and ``write`` apply such a list in the
two directions and account for every tensor: one that is missing, left over or of
another shape is an error that names it. NumPy only; PyTorch is not needed.

    ===========  ======================  ======================
    layout       published               ours
    ===========  ======================  ======================
    ``CONV``     out, in, height, width  height, width, in, out
    ``LINEAR``   out, in                 in, out
    ``MAP``      channels, height, width height, width, channels
    ``CHANNEL``  1, channels, 1, 1       channels
    ``GAIN``     out, 1, 1, 1            out
    ``ROW``      1, entries              entries
    ``SAME``     as it is                as it is
    ===========  ======================  ======================
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict


class Layout(enum.Enum):
    """How the axes of a tensor are arranged."""

    CONV = enum.auto()
    LINEAR = enum.auto()
    MAP = enum.auto()
    CHANNEL = enum.auto()
    GAIN = enum.auto()
    ROW = enum.auto()
    SAME = enum.auto()

    def ours(self, tensor: np.ndarray) -> np.ndarray:
        """From the published arrangement to ours."""
        match self:
            case Layout.CONV:
                return tensor.transpose(2, 3, 1, 0)
            case Layout.LINEAR:
                return tensor.T
            case Layout.MAP:
                return tensor.transpose(1, 2, 0)
            case Layout.CHANNEL | Layout.GAIN | Layout.ROW:
                return tensor.reshape(-1)
        return tensor

    def published(self, tensor: np.ndarray) -> np.ndarray:
        """From our arrangement to the published one."""
        match self:
            case Layout.CONV:
                return tensor.transpose(3, 2, 0, 1)
            case Layout.LINEAR:
                return tensor.T
            case Layout.MAP:
                return tensor.transpose(2, 0, 1)
            case Layout.CHANNEL:
                return tensor.reshape(1, -1, 1, 1)
            case Layout.GAIN:
                return tensor.reshape(-1, 1, 1, 1)
            case Layout.ROW:
                return tensor.reshape(1, -1)
        return tensor

    def published_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Published shape of a tensor whose shape is ``shape`` here."""
        # A broadcast scalar has a shape without having memory.
        return self.published(np.broadcast_to(np.float32(0), shape)).shape


class TensorRule(NamedTuple):
    """One tensor: its published name, its path in our tree, its layout."""

    name: str
    path: tuple[str, ...]
    layout: Layout


def read(
    state: Mapping[str, np.ndarray], entries: Iterable[TensorRule], template: Mapping
) -> dict[str, Any]:
    """Our tree from a published state dict.

    Args:
      template: our tree, of anything that has a shape.

    Raises:
      ValueError: a tensor of ``state`` or of ``template`` is missing, left over,
        or of another shape; the message names it.
    """
    entries = list(entries)
    leaves: dict[tuple[str, ...], Any] = flatten_dict(template)
    shapes = {path: tuple(leaf.shape) for path, leaf in leaves.items()}
    _account("parameter", shapes, [entry.path for entry in entries])
    _account("tensor", state, [entry.name for entry in entries])
    tree = {}
    for name, path, layout in entries:
        tensor, expected = np.asarray(state[name]), layout.published_shape(shapes[path])
        if tensor.shape != expected:
            raise ValueError(f"{name} has shape {tensor.shape}, expected {expected}")
        tree[path] = np.ascontiguousarray(layout.ours(tensor))
    return unflatten_dict(tree)


def write(tree: Mapping, entries: Iterable[TensorRule]) -> dict[str, np.ndarray]:
    """The published state dict of our tree, in the order of ``entries``.

    Raises:
      ValueError: a parameter of ``tree`` has no entry, or an entry no parameter.
    """
    entries, leaves = list(entries), flatten_dict(tree)
    _account("parameter", leaves, [entry.path for entry in entries])
    return {
        name: np.ascontiguousarray(layout.published(np.asarray(leaves[path])))
        for name, path, layout in entries
    }


def _account(what: str, present: Iterable, expected: list) -> None:
    """Refuse what is present twice, not expected, or expected and not present."""
    present = set(present)
    faults = {
        "missing": [key for key in expected if key not in present],
        "surplus": sorted(present - set(expected)),
        "named twice": sorted({key for key in expected if expected.count(key) > 1}),
    }
    for fault, keys in faults.items():
        if keys:
            names = [key if isinstance(key, str) else "/".join(key) for key in keys]
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            raise ValueError(f"{len(names)} {what}(s) {fault}: {shown}")

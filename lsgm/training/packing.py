"""Trees of arrays as a few vectors, in which form a state crosses the mapped update.

The host prepares every leaf of a call's arguments for itself, and devices reduce every
leaf for itself: with thousands of leaves both take longer than the step. Inside the
update the vectors are cut into the trees that networks want; outside it states are
trees, and so are checkpoints.

Arrays of several axes and those of at most one lie in different vectors, for weight
decay spares the latter (``lsgm.training.optim``).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lsgm.training.state import TrainState
from lsgm.typing import Params


class Placement:
    """Where each array of a tree lies in its vectors; equal for equal trees.

    Attributes:
      treedef: of the tree; shapes: of its leaves.
      names: of the vector that each leaf lies in.
    """

    def __init__(self, treedef: Any, shapes: tuple[Any, ...], names: tuple[str, ...]):
        self.treedef, self.shapes, self.names = treedef, shapes, names
        self._hash = hash((treedef, shapes, names))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        # Asked at every call of a compiled function: mostly of the same object.
        if self is other or not isinstance(other, Placement):
            return self is other
        ours = self._hash, self.treedef, self.shapes, self.names
        return ours == (other._hash, other.treedef, other.shapes, other.names)

    @functools.cached_property
    def places(self) -> dict[str, tuple[int, ...]]:
        """By vector, which leaves lie in it, in order."""
        places = {name: [] for name in sorted(set(self.names))}
        for index, name in enumerate(self.names):
            places[name].append(index)
        return {name: tuple(indices) for name, indices in places.items()}


class Packed(flax.struct.PyTreeNode):
    """A tree of arrays as vectors by name: ``float32`` holds arrays of at most one
    axis, ``float32.several`` those of more. To JAX and optax it is a tree of these."""

    vectors: dict[str, Any]
    placement: Placement = flax.struct.field(pytree_node=False)

    @property
    def several_axes(self) -> "Packed":
        """By vector, whether its arrays have more than one axis."""
        several = {name: name.endswith(SEVERAL) for name in self.vectors}
        return self.replace(vectors=several)


SEVERAL = ".several"


def pack(tree: Any) -> Packed:
    """The vectors of a tree of arrays, in the host's memory; traced ones where the
    arrays are."""
    leaves, treedef = jax.tree.flatten(tree)
    names = tuple(f"{leaf.dtype}{SEVERAL if leaf.ndim > 1 else ''}" for leaf in leaves)
    placement = Placement(treedef, tuple(leaf.shape for leaf in leaves), names)
    vectors = {
        name: _join([leaves[i] for i in indices])
        for name, indices in placement.places.items()
    }
    return Packed(vectors=vectors, placement=placement)


def unpack(packed: Packed) -> Any:
    """The tree whose vectors these are; NumPy's are viewed, not copied."""
    placement, leaves = packed.placement, [None] * len(packed.placement.shapes)
    for name, indices in placement.places.items():
        shapes = [placement.shapes[i] for i in indices]
        for i, piece in zip(indices, _cut(packed.vectors[name], shapes), strict=True):
            leaves[i] = piece
    return jax.tree.unflatten(placement.treedef, leaves)


def pack_state(state: TrainState) -> TrainState:
    """A state of trees as one of vectors: parameters, averages and mutables by group,
    and of the optimisers what has the form of the group's parameters."""
    structures = {g: jax.tree.structure(tree) for g, tree in state.params.items()}
    return state.replace(
        params=_by_group(pack, state.params),
        ema=_by_group(pack, state.ema),
        mutables=_by_group(pack, state.mutables),
        opt={g: _pack_like(structures[g], own) for g, own in state.opt.items()},
    )


def unpack_state(state: TrainState) -> TrainState:
    """The inverse of ``pack_state``."""
    return jax.tree.map(
        lambda node: unpack(node) if is_packed(node) else node,
        state,
        is_leaf=is_packed,
    )


def is_packed(node: Any) -> bool:
    """Whether this is a ``Packed``."""
    return isinstance(node, Packed)


def _by_group(function: Callable[[Any], Any], trees: Params) -> Params:
    return {group: function(tree) for group, tree in trees.items()}


def _pack_like(structure: Any, state: Any) -> Any:
    def fits(node: Any) -> bool:
        return jax.tree.structure(node) == structure

    return jax.tree.map(
        lambda node: pack(node) if fits(node) else node, state, is_leaf=fits
    )


def _join(leaves: list[Any]) -> Any:
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def _cut(vector: Any, shapes: list[Any]) -> list[Any]:
    sizes = [math.prod(shape) for shape in shapes]
    if isinstance(vector, np.ndarray):
        pieces = np.split(vector, np.cumsum(sizes)[:-1])
    else:
        pieces = jax.lax.split(vector, sizes)
    return [x.reshape(shape) for x, shape in zip(pieces, shapes, strict=True)]

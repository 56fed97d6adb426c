"""States as a few vectors and back."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lsgm.training import packing
from lsgm.training import state as states
from lsgm.training.optim import Adam, Adamax
from lsgm.training.packing import pack, pack_state, unpack, unpack_state
from lsgm.training.parallel import fetch, replicate
from tests import small


def tree():
    """Arrays of no axis to four, of two types, and a branch without any."""
    return {
        "scalar": jnp.float32(-1.0),
        "bias": jnp.arange(3.0),
        "kernel": jnp.arange(24.0).reshape(2, 3, 1, 4),
        "half": {"kernel": jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3)},
        "nothing": {},
    }


def assert_equal(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("where", [lambda f: f, jax.jit])
def test_what_is_packed_comes_back(where):
    assert_equal(where(lambda x: unpack(pack(x)))(tree()), tree())


def test_vectors_part_types_and_numbers_of_axes():
    packed = pack(tree())
    sizes = {name: vector.size for name, vector in packed.vectors.items()}
    assert sizes == {"float32": 4, "float32.several": 24, "bfloat16.several": 6}
    assert packed.several_axes.vectors == {
        "float32": False,
        "float32.several": True,
        "bfloat16.several": True,
    }


def test_equal_trees_share_a_compiled_function():
    count, other = [], pack({**tree(), "bias": jnp.zeros(2)})

    @jax.jit
    def total(packed):
        count.append(1)
        return jnp.sum(unpack(packed)["bias"])

    assert total(pack(tree())) == total(pack(tree()))
    assert len(count) == 1 and pack(tree()).placement == pack(tree()).placement
    total(other)
    assert len(count) == 2 and other.placement != pack(tree()).placement


OPTIMIZERS = [
    Adam(lr=1e-2, weight_decay=0.1),
    Adam(lr=1e-2, weight_decay=0.1, decoupled=False, decay_all=True, clip_norm=0.1),
    Adamax(lr=1e-2, weight_decay=0.1, clip_norm=0.1),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimisers_move_vectors_as_they_move_trees(optimizer):
    """Weight decay spares what has at most one axis in both; clipping sees one norm."""
    params = {k: v for k, v in tree().items() if k != "half"}
    slope = jax.tree.map(lambda p: jnp.cos(p), params)
    found = {}
    for name, form in (("tree", lambda x: x), ("vectors", pack)):
        transformation, own = optimizer.build(), form(params)
        state = transformation.init(own)
        for _ in range(3):
            updates, state = transformation.update(form(slope), state, own)
            own = optax.apply_updates(own, updates)
        found[name] = own
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        unpack(found["vectors"]),
        found["tree"],
    )


def state(optimizer):
    params, mutables = small.variables()
    transformations = {g: optimizer.build() for g in params}
    return states.create(
        jax.random.key(1), params, mutables, transformations, ("prior",)
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_states_come_back_from_the_devices_as_they_went(optimizer):
    before = state(optimizer)
    packed = replicate(pack_state(before))
    assert len(jax.tree.leaves(packed)) < len(jax.tree.leaves(before)) / 2
    after = unpack_state(fetch(packed))
    assert_equal(after.replace(key=None), before.replace(key=None))
    assert after.key == before.key


def test_what_is_fetched_outlives_the_devices_buffers():
    before = state(OPTIMIZERS[0])
    packed = replicate(pack_state(before))
    after = unpack_state(fetch(packed))
    jax.tree.map(lambda leaf: leaf.delete(), packed)
    assert_equal(after.params, before.params)
    assert after.key == before.key


def test_optimiser_states_are_packed_where_they_have_the_parameters_form():
    packed = pack_state(state(OPTIMIZERS[0]))
    kinds = jax.tree.leaves(packed.opt["vae"], is_leaf=packing.is_packed)
    assert sum(map(packing.is_packed, kinds)) == 2  # both moments
    assert all(packing.is_packed(k) or k.shape == () for k in kinds)

"""Every use of random numbers has its own, whatever else the seed is used for."""

import ast

import jax
import numpy as np
import pytest

from lsgm import streams
from lsgm.streams import Use
from tests.test_layers import imports, module, sources, within

NUM = 16


def words(key) -> set[tuple[int, ...]]:
    """The data of a key and of those below it that indices give."""
    below = jax.random.split(jax.random.clone(key), NUM)
    keys = [jax.random.key_data(key), *jax.random.key_data(below)]
    return {tuple(np.asarray(k).tolist()) for k in keys}


def test_split_keys_are_folded_keys():
    """Why small tags would not do."""
    key = jax.random.key(3)
    split = jax.random.key_data(jax.random.split(key, 5))
    folded = [jax.random.key_data(jax.random.fold_in(key, k)) for k in range(5)]
    np.testing.assert_array_equal(split, folded)


@pytest.mark.parametrize("seed", [0, streams.MAX_SEED])
def test_no_two_uses_meet_nor_meets_one_the_training(seed):
    root = jax.random.key(seed)
    stages = (jax.random.fold_in(jax.random.clone(root), k) for k in range(3))
    found = [words(key) for key in (*stages, *(streams.stream(seed, u) for u in Use))]
    assert len(set.union(*found)) == sum(map(len, found))
    # Below the root itself lie the keys of the stages, and no use.
    uses = set.union(*found[3:])
    assert not uses & words(root)


def test_seeds_beyond_what_jax_keeps_are_refused():
    low, high = jax.random.key(0), jax.random.key(streams.MAX_SEED)
    assert jax.random.key_data(low).tolist() != jax.random.key_data(high).tolist()
    for seed in (0, streams.MAX_SEED):
        streams.check_seed(seed)
    for seed in (-1, streams.MAX_SEED + 1, 2**80):
        with pytest.raises(ValueError, match=rf"seed = {seed}: must lie in"):
            streams.check_seed(seed)


def test_data_seeds_differ_and_the_first_is_the_seed():
    made = [
        streams.data_seed(seed, stage, rollbacks)
        for seed in (0, 1, streams.MAX_SEED)
        for stage in range(4)
        for rollbacks in range(4)
    ]
    assert len(set(made)) == len(made)
    assert max(made) < 2**64
    assert streams.data_seed(7, 0, 0) == 7


@pytest.mark.parametrize("path", sources("lsgm/evaluation"), ids=module)
def test_evaluations_take_keys_from_the_table(path):
    """No key from a bare seed, which other uses have too."""
    used = imports(ast.parse(path.read_text()))
    assert not [name for name in used if within(name, "jax.random.key")]

"""The map between published and own names: complete, invertible, outspoken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import config
from lsgm.interop import ncsnpp_names
from lsgm.interop.layouts import Layout
from lsgm.networks.ncsnpp import NCSNpp

ARGS = {
    "dataset": "mnist",
    "num_scales_dae": 2,
    "num_channels_dae": 8,
    "num_cell_per_scale_dae": 1,
    "fir": False,
    "dropout": 0.2,
    "embedding_dim": 8,
    "embedding_type": "positional",
    "embedding_scale": 1000.0,
    "progressive": "none",
    "progressive_input": "none",
    "progressive_combine": "sum",
}


def network(**changes):
    args = ARGS | changes
    piece = ncsnpp_names.network_piece(args, ncsnpp_names.channel_mult(args))
    return config.build(piece)


def tree(net, seed=0):
    """Random parameters of ``net`` on latents of 8 x 8 x 4, without running it."""
    u, t = jnp.zeros((1, 8, 8, 4)), jnp.zeros(1)
    found = jax.eval_shape(lambda k: net.init(k, u, t, train=False), jax.random.key(0))
    rng = np.random.default_rng(seed)
    draw = {"network": found["params"], "mixing_logit": np.zeros(4)}
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), draw)


def test_arguments_become_fields():
    assert network() == NCSNpp(
        channels=8,
        channel_mult=(1, 1),
        blocks_per_level=1,
        embedding=network().embedding.clone(dim=8, scale=1000.0),
        time_channels=32,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"fir": True, "progressive_input": "residual", "progressive": "output_skip"},
        {"progressive_input": "input_skip", "progressive_combine": "cat"},
        {"progressive_input": "residual", "progressive": "residual"},
        {"embedding_type": "fourier", "num_cell_per_scale_dae": 2},
    ],
)
def test_round_trip(changes):
    net = network(**changes)
    ours = tree(net)
    state = ncsnpp_names.write(ours, fir=net.fir)
    back = ncsnpp_names.read(state, tree(net, seed=1), fir=net.fir)
    jax.tree.map(np.testing.assert_array_equal, back, ours)
    numbers = {int(n.split(".")[1]) for n in state if n.startswith("all_modules")}
    assert numbers == set(range(len(numbers)))


@pytest.fixture
def state():
    return ncsnpp_names.write(tree(network()), fir=False)


@pytest.mark.parametrize("name", ["mixing_logit", "all_modules.3.Conv_0.weight"])
def test_missing_tensor_is_named(state, name):
    del state[name]
    with pytest.raises(ValueError, match=rf"1 tensor\(s\) missing: {name}"):
        ncsnpp_names.read(state, tree(network()), fir=False)


def test_surplus_tensor_is_named(state):
    state["all_modules.99.weight"] = np.zeros(3)
    with pytest.raises(ValueError, match="surplus: all_modules.99.weight"):
        ncsnpp_names.read(state, tree(network()), fir=False)


def test_wrong_shape_is_named(state):
    state["all_modules.0.weight"] = state["all_modules.0.weight"].T
    with pytest.raises(ValueError, match=r"all_modules.0.weight has shape \(8, 32\)"):
        ncsnpp_names.read(state, tree(network()), fir=False)


def test_parameter_without_a_published_name_is_named():
    ours = tree(network())
    ours["network"]["extra"] = {"kernel": np.zeros((3, 3))}
    with pytest.raises(ValueError, match="surplus: network/extra/kernel"):
        ncsnpp_names.write(ours, fir=False)


@pytest.mark.parametrize("dataset, levels", [("mnist", 3), ("celeba_64", 2)])
def test_unpublished_multipliers_are_refused(dataset, levels):
    with pytest.raises(ValueError, match=f"{dataset}.*{levels}"):
        ncsnpp_names.channel_mult(ARGS | dict(dataset=dataset, num_scales_dae=levels))


@pytest.mark.parametrize("layout", Layout)
def test_layouts_invert(layout):
    shapes = {Layout.CONV: (3, 5, 2, 4), Layout.LINEAR: (2, 4), Layout.MAP: (3, 5, 2)}
    shape = shapes.get(layout, (6,))
    ours = np.arange(np.prod(shape)).reshape(shape)
    published = layout.published(ours)
    assert published.shape == layout.published_shape(shape)
    np.testing.assert_array_equal(layout.ours(published), ours)

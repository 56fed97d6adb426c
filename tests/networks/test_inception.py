"""Inception-v3: known numbers of parameters, and blocks against SciPy."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import maximum_filter
from scipy.signal import correlate

from lsgm.networks import inception
from lsgm.networks.inception import BLOCKS, InceptionLayer, InceptionV3, Mixed
from tests.small import QUICK

# Of the network as image libraries count it, with 1,000 classes, without (27,161,264
# with) its auxiliary classifier.
KNOWN_PARAMETERS = 23_834_568
CLASSIFIER = 2048 * 1000 + 1000


@functools.cache
def shapes():
    image = jnp.zeros((1, 75, 75, 3))
    return jax.eval_shape(InceptionV3().init, jax.random.key(0), image)["params"]


def random_like(tree, seed=0):
    """Weights that keep activations alive; variances are positive."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            fan_in = np.prod(leaf.shape[:3])
            return (rng.normal(size=leaf.shape) / np.sqrt(fan_in)).astype(np.float32)
        if name in ("scale", "var"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        return rng.normal(0, 0.2, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, tree)


def test_parameters_are_as_many_as_is_known():
    leaves = jax.tree_util.tree_leaves_with_path(shapes())
    assert len(leaves) == 94 * 5
    learned = sum(
        np.prod(leaf.shape) for path, leaf in leaves if path[-1].key not in STORED
    )
    assert learned == KNOWN_PARAMETERS - CLASSIFIER


STORED = ("mean", "var")


@pytest.mark.parametrize(
    "path, shape",
    [
        ("Conv2d_1a_3x3", (3, 3, 3, 32)),
        ("Conv2d_4a_3x3", (3, 3, 80, 192)),
        ("Mixed_5b/branch_pool", (1, 1, 192, 32)),
        ("Mixed_5d/branch5x5_2", (5, 5, 48, 64)),
        ("Mixed_6a/branch3x3dbl_3", (3, 3, 96, 96)),
        ("Mixed_6b/branch7x7_2", (1, 7, 128, 128)),
        ("Mixed_6e/branch7x7dbl_2", (7, 1, 192, 192)),
        ("Mixed_7a/branch7x7x3_4", (3, 3, 192, 192)),
        ("Mixed_7b/branch1x1", (1, 1, 1280, 320)),
        ("Mixed_7c/branch3x3dbl_3a", (1, 3, 384, 384)),
        ("Mixed_7c/branch3x3_2b", (3, 1, 384, 384)),
    ],
)
def test_kernels_have_the_published_shapes(path, shape):
    tree = shapes()
    for name in path.split("/"):
        tree = tree[name]
    assert tree["conv"]["kernel"].shape == shape


def conv(x, params, stride=1, same=True):
    """Convolution of one image [h w c], normalisation, rectifier, by SciPy."""
    kernel = params["conv"]["kernel"].astype(np.float64)
    pads = [(k // 2, k // 2) if same else (0, 0) for k in kernel.shape[:2]]
    # Of one type with the kernel: SciPy casts a buffer that it has not filled yet.
    x = np.pad(x.astype(np.float64), (*pads, (0, 0)))
    maps = [
        sum(
            correlate(x[..., i], kernel[..., i, o], "valid", "direct")
            for i in range(x.shape[2])
        )
        for o in range(kernel.shape[3])
    ]
    h = np.stack(maps, -1)[::stride, ::stride]
    h = (h - params["mean"]) / np.sqrt(params["var"] + 1e-3)
    return np.maximum(params["scale"] * h + params["bias"], 0)


def small(block):
    """The block with a sixteenth of its channels."""

    def thin(layer):
        if isinstance(layer, InceptionLayer):
            return layer._replace(features=layer.features // 16)
        return tuple(map(thin, layer))

    return block._replace(
        branches=thin(block.branches), pool_features=block.pool_features // 16
    )


def applied(name, size=7, channels=5):
    """A small block on a random image: its input, its output, its parameters."""
    module = Mixed(small(BLOCKS[name]))
    x = np.random.default_rng(1).normal(size=(size, size, channels)).astype(np.float32)
    tree = jax.eval_shape(module.init, jax.random.key(0), x[None])["params"]
    params = random_like(tree)
    run = jax.jit(module.apply, compiler_options=QUICK)
    return x, np.asarray(run({"params": params}, x[None])[0]), params


def test_block_a_is_its_definition():
    x, found, p = applied("Mixed_5c")
    pooled = average_by_hand(x)
    expected = [
        conv(x, p["branch1x1"]),
        conv(conv(x, p["branch5x5_1"]), p["branch5x5_2"]),
        conv(
            conv(conv(x, p["branch3x3dbl_1"]), p["branch3x3dbl_2"]), p["branch3x3dbl_3"]
        ),
        conv(pooled, p["branch_pool"]),
    ]
    np.testing.assert_allclose(found, np.concatenate(expected, -1), atol=1e-5)


def test_block_d_is_its_definition():
    x, found, p = applied("Mixed_7a")
    h = conv(x, p["branch7x7x3_1"])
    h = conv(conv(h, p["branch7x7x3_2"]), p["branch7x7x3_3"])
    expected = [
        conv(conv(x, p["branch3x3_1"]), p["branch3x3_2"], 2, same=False),
        conv(h, p["branch7x7x3_4"], 2, same=False),
        maximum_filter(x, (3, 3, 1))[1:-1:2, 1:-1:2],
    ]
    np.testing.assert_allclose(found, np.concatenate(expected, -1), atol=1e-5)


def test_last_block_is_its_definition_with_a_maximum():
    x, found, p = applied("Mixed_7c")
    short = conv(x, p["branch3x3_1"])
    long = conv(conv(x, p["branch3x3dbl_1"]), p["branch3x3dbl_2"])
    expected = [
        conv(x, p["branch1x1"]),
        conv(short, p["branch3x3_2a"]),
        conv(short, p["branch3x3_2b"]),
        conv(long, p["branch3x3dbl_3a"]),
        conv(long, p["branch3x3dbl_3b"]),
        conv(maximum_filter(x, (3, 3, 1), mode="nearest"), p["branch_pool"]),
    ]
    np.testing.assert_allclose(found, np.concatenate(expected, -1), atol=1e-5)


def average_by_hand(x):
    h, w, _ = x.shape
    found = np.empty_like(x, np.float64)
    for i in range(h):
        for j in range(w):
            near = x[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            found[i, j] = near.mean((0, 1))
    return found


def test_average_pooling_leaves_padding_out():
    """A constant stays constant, and corners are means of four."""
    x = np.arange(9.0, dtype=np.float32).reshape(1, 3, 3, 1)
    found = np.asarray(inception.average(jnp.asarray(x)))
    assert found[0, 0, 0, 0] == pytest.approx((0 + 1 + 3 + 4) / 4)
    assert found[0, 0, 1, 0] == pytest.approx((0 + 1 + 2 + 3 + 4 + 5) / 6)
    np.testing.assert_allclose(found[0], average_by_hand(x[0]), rtol=1e-6)
    ones = jnp.ones((1, 5, 5, 2))
    np.testing.assert_allclose(inception.average(ones), ones, rtol=1e-6)


@pytest.mark.parametrize(
    "name, pool",
    [("Mixed_7b", "average"), ("Mixed_7c", "max"), ("Mixed_6e", "average")],
)
def test_which_block_pools_how(name, pool):
    assert BLOCKS[name].pool == pool


@pytest.mark.parametrize("size, last", [(75, 1), (299, 8)])
def test_sizes_of_maps(size, last):
    """299 pixels end as 8x8; 75 are the fewest that end as anything."""
    found = {}

    def keep(next_fun, args, kwargs, context):
        out = next_fun(*args, **kwargs)
        if isinstance(context.module, Mixed):
            found[context.module.name] = out.shape
        return out

    with nn.intercept_methods(keep):
        image = jnp.zeros((1, size, size, 3))
        out = jax.eval_shape(InceptionV3().init_with_output, jax.random.key(0), image)
    assert out[0].shape == (1, 2048)
    assert found["Mixed_7c"] == (1, last, last, 2048)
    assert found["Mixed_6e"][3] == 768
    if size == 299:
        assert [found[n][1] for n in ("Mixed_5b", "Mixed_6a")] == [35, 17]

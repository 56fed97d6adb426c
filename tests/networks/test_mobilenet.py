"""MobileNetV2: known numbers, blocks against SciPy, folding of the normalisation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate

from lsgm.networks import mobilenet
from lsgm.networks.mobilenet import MobileNetV2, MobileResidual, MobileStage
from tests.small import QUICK

# As image libraries count it, with 1,000 classes.
KNOWN_PARAMETERS, CLASSIFIER = 3_504_872, 1280 * 1000 + 1000
STORED = ("mean", "var")
TINY = MobileNetV2(
    stem=4, stages=(MobileStage(1, 3, 1, 1), MobileStage(2, 4, 2, 2)), num_features=5
)


@functools.cache
def shapes(network=MobileNetV2()):  # noqa: B008
    image = jnp.zeros((1, 32, 32, 3))
    return jax.eval_shape(network.init, jax.random.key(0), image)["params"]


def random_like(tree, seed=0):
    """Weights that reach both ends of the rectifier; variances are positive."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            draws = 2 * rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:3]))
        elif name in ("scale", "var"):
            draws = rng.uniform(0.5, 3, leaf.shape)
        else:
            draws = rng.normal(1, 1, leaf.shape)
        return draws.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, tree)


def test_parameters_are_as_many_as_is_known():
    leaves = jax.tree_util.tree_leaves_with_path(shapes())
    assert len(leaves) == 52 * 5
    learned = sum(
        np.prod(leaf.shape) for path, leaf in leaves if path[-1].key not in STORED
    )
    assert learned == KNOWN_PARAMETERS - CLASSIFIER


@pytest.mark.parametrize(
    "path, shape",
    [
        ("0", (3, 3, 3, 32)),
        ("1/depthwise", (3, 3, 1, 32)),
        ("2/expand", (1, 1, 16, 96)),
        ("14/depthwise", (3, 3, 1, 576)),
        ("17/project", (1, 1, 960, 320)),
        ("18", (1, 1, 320, 1280)),
    ],
)
def test_kernels_have_the_published_shapes(path, shape):
    tree = shapes()
    for name in path.split("/"):
        tree = tree[name]
    assert tree["kernel"].shape == shape


def conv(x, params, stride=1, cut=True):
    """Convolution of one image [h w c] in float64 by SciPy, normalisation as stored
    statistics define it, rectifier."""
    p = {name: value.astype(np.float64) for name, value in params.items()}
    size, _, inputs, outputs = p["kernel"].shape
    x = np.pad(x, ((size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    by_channel = inputs == 1 and x.shape[2] > 1
    maps = [
        sum(
            correlate(x[..., i], p["kernel"][:, :, 0 if by_channel else i, o], "valid")
            for i in ([o] if by_channel else range(inputs))
        )
        for o in range(outputs)
    ]
    h = np.stack(maps, -1)[::stride, ::stride]
    h = p["scale"] * (h - p["mean"]) / np.sqrt(p["var"] + 1e-5) + p["bias"]
    return h.clip(0, 6) if cut else h


def residual(x, params, stride):
    h = conv(x, params["expand"]) if "expand" in params else x
    h = conv(conv(h, params["depthwise"], stride), params["project"], cut=False)
    return x + h if stride == 1 and h.shape == x.shape else h


@pytest.mark.parametrize(
    "expansion, channels, stride, size",
    [
        (1, 3, 1, 6),
        (2, 4, 1, 6),
        (2, 4, 2, 6),
        (2, 3, 2, 5),
        (1, 4, 1, 5),
        (2, 4, 2, 1),
    ],
)
def test_block_is_its_definition(expansion, channels, stride, size):
    """With and without widening, halving, and the input added; odd sizes too."""
    module = MobileResidual(expansion, channels, stride)
    x = np.random.default_rng(1).normal(size=(size, size, 4)).astype(np.float32)
    tree = jax.eval_shape(module.init, jax.random.key(0), x[None])["params"]
    assert ("expand" in tree) == (expansion != 1)
    params = random_like(tree)
    run = jax.jit(module.apply, compiler_options=QUICK)
    found = np.asarray(run({"params": params}, x[None])[0])
    np.testing.assert_allclose(found, residual(x, params, stride), atol=2e-5, rtol=1e-5)


def test_network_is_its_blocks_in_turn():
    params = random_like(shapes(TINY))
    x = np.random.default_rng(2).normal(size=(2, 12, 12, 3)).astype(np.float32)
    run = jax.jit(TINY.apply, compiler_options=QUICK)
    found = np.asarray(run({"params": params}, x))
    for image, features in zip(x, found, strict=True):
        h = conv(image, params["0"], 2)
        h = residual(h, params["1"], 1)
        h = residual(residual(h, params["2"], 2), params["3"], 1)
        assert h.shape == (3, 3, 4)
        last = conv(h, params["4"])
        # Both ends of the rectifier are reached.
        assert 0 < (last == 0).mean() < 1 and (last == 6).any()
        expected = last.mean((0, 1))
        np.testing.assert_allclose(features, expected, atol=2e-5, rtol=1e-5)


def test_halving_pads_every_side():
    """The first filter's centre sees even pixels; zeros stand before the first."""
    params = random_like(shapes(TINY))["0"]
    kernel = np.zeros_like(params["kernel"])
    kernel[1, 1, 0] = 1
    unit = {"scale": 1, "bias": 0, "mean": 0, "var": 1 - mobilenet.EPSILON}
    stored = {name: np.full(4, value, np.float32) for name, value in unit.items()}
    x = np.random.default_rng(3).random((1, 8, 8, 3), np.float32)
    module = mobilenet.MobileConv(4, 3, 2)
    run = jax.jit(module.apply, compiler_options=QUICK)
    found = np.asarray(run({"params": {"kernel": kernel, **stored}}, x))
    np.testing.assert_allclose(found[..., 0], x[:, ::2, ::2, 0], rtol=1e-6)


def test_folding_is_closed_form_eq1():
    """Gain 3 / sqrt(4) by hand, and both sides of Eq. (1) on a 1x1 filter."""
    eps, one = mobilenet.EPSILON, jnp.ones((1,))
    kernel, bias = mobilenet.folded(
        jnp.full((1, 1, 1, 1), 4.0), 3 * one, 5 * one, 7 * one, (4 - eps) * one
    )
    assert float(kernel[0, 0, 0, 0]) == pytest.approx(4 * 1.5)
    assert float(bias[0]) == pytest.approx(5 - 1.5 * 7)
    x = 2.5
    normalised = 3 * (4 * x - 7) / np.sqrt(4) + 5
    assert float(kernel[0, 0, 0, 0] * x + bias[0]) == pytest.approx(normalised)
    # A channel that never varied is kept finite by eps.
    kernel, _ = mobilenet.folded(jnp.ones((1, 1, 1, 1)), one, one, one, 0 * one)
    assert float(kernel[0, 0, 0, 0]) == pytest.approx(eps**-0.5)

"""Networks of denoising diffusion GANs: sizes, styles, the deviation of a batch."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.networks.adaptive import AdaptiveGroupNorm, Mapping
from lsgm.networks.discriminator import Discriminator, append_deviation
from lsgm.networks.gan_mlp import MLPDiscriminator, MLPGenerator
from lsgm.networks.generator import Generator
from lsgm.networks.layers import GroupNorm
from tests.small import QUICK

LEVEL = jnp.array([1, 2], jnp.int32)
SMALL = Generator(
    channels=8,
    channel_mult=(1, 2),
    blocks_per_level=1,
    attention_resolutions=(4,),
    fir=True,
    time_channels=16,
    latent_dim=5,
    style_channels=12,
    mapping_layers=1,
)
TINY = Discriminator(stem=4, widths=(4, 8), time_channels=8)


def key(seed=0):
    """A new key each time, as JAX's check of their use wants it."""
    return jax.random.key(seed)


def compiled(fn, *args):
    """``fn`` in one program: op by op, initialising a network takes minutes."""
    return jax.jit(fn, compiler_options=QUICK)(*args)


def size_of(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def images(num, side, channels=3):
    return jnp.zeros((num, side, side, channels))


@pytest.fixture(scope="module")
def generator():
    """The small one with weights that are all away from zero, and its inputs."""
    x, z = jax.random.normal(key(), (2, 8, 8, 3)), jax.random.normal(key(1), (2, 5))
    init = functools.partial(SMALL.init, train=False)
    shapes = jax.eval_shape(init, key(2), x, LEVEL, z)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda v: jnp.asarray(0.3 * rng.normal(size=v.shape), jnp.float32), shapes
    )
    return params, x, z


def test_guess_depends_on_level_and_latent(generator):
    params, x, z = generator

    def guess(level, z):
        return SMALL.apply(params, x, level, z, train=False)

    guess = jax.jit(guess, compiler_options=QUICK)
    first = guess(LEVEL, z)
    assert first.shape == x.shape and float(jnp.abs(first).max()) <= 1
    moved = jnp.abs(guess(LEVEL, -z) - first).max((1, 2, 3))
    later = jnp.abs(guess(LEVEL + 1, z) - first).max((1, 2, 3))
    assert float(moved.min()) > 1e-3 and float(later.min()) > 1e-3


def test_one_norm_per_block_leaves_the_second_to_the_weights(generator):
    own = SMALL.clone(adaptive_norms=1)
    _, x, z = generator
    params = jax.eval_shape(lambda: own.init(key(), x, LEVEL, z, train=False)["params"])
    block = params["mid_0"]
    assert set(block["norm_0"]) == {"style"} and set(block["norm_1"]) == {
        "bias",
        "scale",
    }


def test_style_starts_as_a_plain_norm_and_then_sets_scale_and_shift():
    x = jax.random.normal(key(1), (2, 3, 3, 8))
    module, style = AdaptiveGroupNorm(), jnp.zeros((2, 4))
    params = module.init(key(), x, style)["params"]
    plain = GroupNorm().init_with_output(key(), x)[0]
    found = module.apply({"params": params}, x, style)
    np.testing.assert_allclose(found, plain, atol=1e-6)
    scale, shift = jnp.arange(8.0), jnp.arange(8.0) - 3
    bias = jnp.concatenate([scale, shift])
    dense = {**params["style"], "bias": bias}
    found = module.apply({"params": {"style": dense}}, x, style)
    expected = plain * scale[None, None, None] + shift[None, None, None]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_mapping_ignores_the_length_of_the_latent():
    z = jax.random.normal(key(1), (3, 6))
    module = Mapping(7, 2)
    params = module.init(key(), z)
    assert set(params["params"]) == {"linear_0", "linear_1", "linear_2"}
    np.testing.assert_allclose(
        module.apply(params, 5 * z), module.apply(params, z), rtol=1e-5
    )


@pytest.mark.parametrize("num, size", [(8, 4), (4, 4), (6, 2), (3, 1)])
def test_deviation_is_that_of_every_group(num, size):
    """Example i is in group i mod (b / size), for any size of the batch."""
    x = jax.random.normal(key(), (num, 2, 2, 3))
    found = append_deviation(x)
    np.testing.assert_array_equal(found[..., :3], x)
    for i in range(num):
        group = x[i % (num // size) :: num // size]
        assert len(group) == size
        expected = np.sqrt(np.var(group, axis=0) + 1e-8).mean()
        np.testing.assert_allclose(found[i, ..., 3], expected, rtol=1e-4)


def test_deviation_of_identical_examples_has_a_gradient():
    gradient = jax.grad(lambda x: append_deviation(x).sum())(jnp.ones((4, 2, 2, 1)))
    assert np.isfinite(gradient).all()


def test_discriminator_starts_without_an_opinion_of_small_images():
    """Its last convolution starts near zero, so all logits are the bias."""
    x = jax.random.normal(key(1), (2, 4, 4, 3))
    run = functools.partial(TINY.init_with_output, train=False)
    logits, _ = compiled(run, key(), x, -x, LEVEL)
    assert logits.shape == (2,)
    np.testing.assert_allclose(logits, 0, atol=1e-2)


def test_data_that_do_not_halve_are_refused():
    with pytest.raises(ValueError, match="need multiples of 2"):
        TINY.init(key(), images(2, 3), images(2, 3), LEVEL, train=False)
    with pytest.raises(ValueError, match="at least one block"):
        Discriminator(widths=())


@pytest.mark.parametrize("network", [MLPGenerator(latent_dim=0), MLPGenerator(depth=1)])
def test_mlp_guess_sees_level_and_latent(network):
    x = jax.random.normal(key(1), (2, 1, 1, 2))
    z = jax.random.normal(key(2), (2, network.latent_dim))
    first, params = network.init_with_output(key(), x, LEVEL, z, train=False)
    assert first.shape == x.shape
    later = network.apply(params, x, LEVEL + 1, z, train=False)
    assert (jnp.abs(later - first) > 1e-4).all()
    if network.latent_dim:
        moved = network.apply(params, x, LEVEL, -z, train=False)
        assert (jnp.abs(moved - first) > 1e-4).all()


@pytest.mark.parametrize("octaves", [0, 2])
def test_mlp_discriminator_sees_both_and_the_level(octaves):
    x = jax.random.normal(key(1), (2, 1, 1, 2))
    own = MLPDiscriminator(width=16, octaves=octaves)
    first, params = own.init_with_output(key(), x, -x, LEVEL, train=False)
    kernel = params["params"]["body"]["hidden_0"]["kernel"]
    assert kernel.shape == (4 + 8 * octaves, 16)
    others = ((x, x, LEVEL), (-x, -x, LEVEL), (x, -x, LEVEL + 1))
    for changed in others:
        assert (jnp.abs(own.apply(params, *changed, train=False) - first) > 1e-5).all()


# Millions of parameters, from the description of the published models.
@pytest.mark.parametrize(
    ("network", "side", "millions"),
    [
        (
            Generator(
                channels=128,
                channel_mult=(1, 2, 2, 2),
                blocks_per_level=2,
                fir=True,
                mapping_layers=4,
            ),
            32,
            48.4,
        ),
        (
            Generator(
                channels=64,
                channel_mult=(1, 1, 2, 2, 4, 4),
                blocks_per_level=2,
                fir=True,
                time_channels=256,
                mapping_layers=3,
            ),
            256,
            39.7,
        ),
        (Discriminator(), 32, 12.7),
        (
            Discriminator(
                widths=(256, 512, 512, 512, 512, 512), keep_first=False, head_scale=1.0
            ),
            256,
            27.7,
        ),
    ],
    ids=["generator-32", "generator-256", "discriminator-32", "discriminator-256"],
)
def test_published_sizes(network, side, millions):
    x = images(4, side)
    level = jnp.ones(4, jnp.int32)
    rest = (jnp.zeros((4, 100)),) if isinstance(network, Generator) else ()
    inputs = (x, level, *rest) if rest else (x, x, level)
    variables = jax.eval_shape(lambda: network.init(key(), *inputs, train=False))
    assert size_of(variables["params"]) / 1e6 == pytest.approx(millions, abs=0.051)

"""The score network: sizes, start, dropout, rematerialisation, bf16, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.networks.embeddings import Fourier, Positional
from lsgm.networks.layers import KERNELS, SCALES, Dropout, GroupNorm
from lsgm.networks.ncsnpp import NCSNpp
from lsgm.networks.ncsnpp_blocks import PyramidDown, PyramidUp

# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}
SMALL = NCSNpp(
    channels=8,
    channel_mult=(1, 2),
    blocks_per_level=1,
    attention_resolutions=(8,),
    fir=True,
    dropout=0.5,
    embedding=Positional(dim=8),
    time_channels=16,
)
U = jax.random.normal(jax.random.key(0), (2, 8, 8, 4))
T = jnp.array([0.01, 0.7])

# Published numbers of parameters, less the mixing logits: one per latent channel.
QUANTITATIVE = dict(channels=256, channel_mult=(1, 2, 2, 2), fir=True)
QUALITATIVE = dict(channel_mult=(1, 1, 2, 2, 2), fir=True)
RECIPES = {
    "cifar10": (dict(channels=512, fir=True), (16, 180), 375_561_064),
    "mnist": (dict(channels=256, channel_mult=(1, 1)), (8, 40), 63_774_544),
    "omniglot": (dict(channels=256), (16, 60), 97_804_152),
    "celeba quantitative": (QUANTITATIVE, (32, 160), 408_367_680),
    "celeba qualitative": (QUALITATIVE | {"channels": 256}, (64, 200), 440_116_368),
    "celeba frozen VAE": (QUALITATIVE | {"channels": 320}, (64, 200), 680_827_984),
    "small": (dict(channels=32, channel_mult=(1, 1)), (8, 40), 1_894_320),
}
LAYERS = {  # convolutions and norms in the published regulariser
    "cifar10": (147, 125),
    "mnist": (98, 78),
    "celeba quantitative": (197, 163),
    "celeba qualitative": (246, 201),
}


def shapes(net, u):
    """Shapes of everything that ``init`` makes, what is sown included."""
    return jax.eval_shape(
        lambda: net.init(
            {"params": jax.random.key(0), "dropout": jax.random.key(1)},
            u,
            jnp.zeros(len(u)),
            train=True,
        )
    )


def apply(net, params, u=U):
    run = functools.partial(net.apply, train=False)
    return jax.jit(run, compiler_options=QUICK)({"params": params}, u, T)


@pytest.fixture(scope="module")
def params():
    """Weights of SMALL, moved so that no layer is near zero."""
    init = jax.jit(functools.partial(SMALL.init, train=False), compiler_options=QUICK)
    start = init(jax.random.key(1), U, T)["params"]
    return jax.tree.map(
        lambda v: v + 0.1 * jnp.cos(jnp.arange(v.size)).reshape(v.shape), start
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_published_sizes(recipe):
    fields, (resolution, channels), expected = RECIPES[recipe]
    found = shapes(NCSNpp(**fields), jnp.zeros((1, resolution, resolution, channels)))
    number = sum(leaf.size for leaf in jax.tree.leaves(found["params"]))
    assert number == expected - channels
    if recipe in LAYERS:
        sown = (len(jax.tree.leaves(found[name])) for name in (KERNELS, SCALES))
        assert tuple(sown) == LAYERS[recipe]


def test_output_at_the_start():
    """A near-zero head on unit normals: Var = fan_in E[swish^2] 1e-10 / fan_avg."""
    net = SMALL.clone(channels=32, channel_mult=(1,))
    u = jax.random.normal(jax.random.key(2), (2, 8, 8, 40))
    init = jax.jit(functools.partial(net.init, train=False), compiler_options=QUICK)
    out = apply(net, init(jax.random.key(3), u, T)["params"], u=u)
    expected = 1e-5 * np.sqrt(0.356 * 32 / ((32 + 40) / 2))
    assert jnp.std(out) == pytest.approx(expected, rel=0.3)
    assert 1e-5 < jnp.abs(out).max() < 6e-5


def test_dropout_draws_in_training_only(params):
    run = jax.jit(functools.partial(SMALL.apply, train=True), compiler_options=QUICK)
    one, other, again = (
        run({"params": params}, U, T, rngs={"dropout": jax.random.key(seed)})
        for seed in (4, 5, 4)
    )
    assert jnp.abs(one - other).max() > 1e-2
    np.testing.assert_array_equal(one, again)
    # Without a key a draw would raise.
    assert jnp.abs(apply(SMALL, params) - one).max() > 1e-2


def test_dropout_is_unbiased_at_its_rate():
    x = jnp.full((4, 50, 50, 40), 3.0)
    key = {"dropout": jax.random.key(6)}
    y = Dropout(0.2).apply({}, x, True, rngs=key)
    assert jnp.mean(y == 0) == pytest.approx(0.2, abs=0.004)
    np.testing.assert_allclose(y[y != 0], 3 / 0.8, rtol=1e-4)
    np.testing.assert_array_equal(Dropout(0.2).apply({}, x, False), x)


def test_remat_changes_nothing_but_memory(params):
    def loss(net, params):
        key = {"dropout": jax.random.key(7)}
        variables, sown = {"params": params}, [KERNELS, SCALES]
        out, state = net.apply(variables, U, T, train=True, rngs=key, mutable=sown)
        return jnp.sum(out**2), state

    fn = jax.jit(
        jax.value_and_grad(loss, 1, has_aux=True),
        static_argnums=0,
        compiler_options=QUICK,
    )
    (plain, sown), gradient = fn(SMALL, params)
    (again, resown), regradient = fn(SMALL.clone(remat=True), params)
    assert float(again) == pytest.approx(float(plain), rel=1e-6)
    for ours, theirs in ((resown, sown), (regradient, gradient)):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3),
            ours,
            theirs,
        )


def test_bf16_is_close_and_returns_the_input_type(params):
    exact = apply(SMALL, params)
    rough = apply(SMALL.clone(dtype=jnp.bfloat16), params)
    assert rough.dtype == jnp.float32
    error = jnp.abs(rough - exact).max() / jnp.abs(exact).max()
    assert 1e-5 < error < 0.05
    found = shapes(SMALL.clone(dtype=jnp.bfloat16), U)["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    "progressive_input, progressive_output, combine, fir",
    [
        ("none", "skip", "sum", True),
        ("none", "residual", "sum", False),
        ("skip", "none", "sum", True),
        ("skip", "residual", "concat", True),
        ("residual", "skip", "sum", False),
    ],
)
def test_pyramids_keep_the_contract(
    progressive_input, progressive_output, combine, fir
):
    net = SMALL.clone(
        progressive_input=progressive_input,
        progressive_output=progressive_output,
        progressive_combine=combine,
        fir=fir,
        embedding=Fourier(dim=8),
        out_channels=3,
    )
    found = shapes(net, U)["params"]
    assert ("input_0" in found) == (progressive_input != "none")
    assert ("output_0" in found) == (progressive_output != "none")
    assert ("head" in found) == (progressive_output != "skip")
    out = jax.eval_shape(
        functools.partial(net.apply, train=False), {"params": found}, U, T
    )
    assert out.shape == (2, 8, 8, 3)


def test_widths_that_meet_a_norm_are_foreseen():
    for combine in ("sum", "concat"):
        net = SMALL.clone(
            channel_mult=(1, 3, 2),
            progressive_input="skip",
            progressive_combine=combine,
        )
        scales = jax.tree.leaves(shapes(net, U)[SCALES])
        assert {scale.size for scale in scales} == net._normalised_widths()


@pytest.mark.parametrize("fir", [False, True])
def test_pyramid_convolutions_see_zeros_beyond_the_border(fir):
    """On a wider plane of zeros they give the same numbers."""
    inside = jnp.zeros((1, 16, 16, 2)).at[:, 4:12, 4:12].set(U[:1, ..., :2])
    for block, at in ((PyramidDown(3, fir), 2), (PyramidUp(3, fir), 8)):
        variables = block.init(jax.random.key(8), inside)
        near = block.apply(variables, U[:1, ..., :2])
        wide = block.apply(variables, inside)
        size = near.shape[1]
        np.testing.assert_allclose(
            near, wide[:, at : at + size, at : at + size], atol=1e-5
        )


def test_group_norm_keeps_its_digits_far_from_zero():
    x = jax.random.normal(jax.random.key(9), (2, 4, 4, 8))
    near = GroupNorm().init_with_output(jax.random.key(0), x)[0]
    far = GroupNorm().init_with_output(jax.random.key(0), x + 1000.0)[0]
    np.testing.assert_allclose(far, near, atol=2e-3)


def test_group_norm_has_the_derivatives_of_its_definition():
    def ours(x):
        variables = {"params": {"scale": jnp.ones(8), "bias": jnp.zeros(8)}}
        return GroupNorm().apply(variables, x)

    def definition(x):
        groups = x.reshape(1, 2, 2, 2, 4)
        mean = groups.mean(axis=(1, 2, 4), keepdims=True)
        var = groups.var(axis=(1, 2, 4), keepdims=True)
        return ((groups - mean) * jax.lax.rsqrt(var + 1e-6)).reshape(x.shape)

    x = jax.random.normal(jax.random.key(10), (1, 2, 2, 8))
    v, w = x[:, ::-1] ** 2, jnp.cos(3 * x)

    def second(fn):
        def slope(x):
            return jax.jvp(fn, (x,), (v,))[1]

        return jax.grad(lambda x: jnp.vdot(slope(x), w))(x)

    np.testing.assert_allclose(second(ours), second(definition), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("channels", 6, "multiple of 4"),
        ("channels", 132, "above 128 of 32"),
        ("channel_mult", (), "at least one"),
        ("blocks_per_level", 0, ">= 1"),
        ("dropout", 1.0, r"\[0, 1\)"),
        ("progressive_input", "output_skip", "none, skip, residual"),
        ("progressive_combine", "cat", "sum, concat"),
    ],
)
def test_refusals_name_field_value_and_what_is_allowed(field, value, words):
    with pytest.raises(ValueError, match=f"{field} = .*{words}"):
        SMALL.clone(**{field: value})


def test_resolution_that_does_not_halve_is_refused():
    with pytest.raises(ValueError, match="7 x 8.*multiples of 2"):
        shapes(SMALL, U[:, :7])


def test_equal_fields_make_equal_networks():
    assert hash(SMALL) == hash(SMALL.clone()) and SMALL == SMALL.clone()
    assert SMALL != SMALL.clone(embedding=Positional(dim=8, scale=1.0))

"""Networks of sequences: the VAE's contract, what a symbol sees, the score network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.categorical import CategoricalLikelihood, to_x
from lsgm.networks.categorical import OneHotInput
from lsgm.networks.conv import ConvVAE
from lsgm.networks.initialize import initialize
from lsgm.networks.sequence import SequenceVAE
from lsgm.networks.sequence_layers import SequenceConv
from lsgm.networks.sequence_score import SequenceScore
from lsgm.vae import VAE

K, N = 5, 8
FIELDS = dict(num_outputs=K, width=8, halvings=1, latent_channels=3, head_width=8)


def setup(**fields):
    network = SequenceVAE(**FIELDS | fields)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, K, (2, N, 1, 1))
    x = to_x(jnp.asarray(codes), K - 1)
    ((shape,),) = network.latent_shapes(x.shape[1:])
    noise = (jnp.asarray(rng.standard_normal((2, *shape)), jnp.float32),)
    variables = initialize(network, jax.random.key(2), x, noise, train=False)
    return network, variables, x, noise


def test_contract_of_the_factorised_decoder():
    network, variables, x, noise = setup()
    apply = functools.partial(network.apply, variables, train=False)
    (z,), (log_q,), out = jax.jit(apply)(x, noise)
    assert z.shape == log_q.shape == (2, N // 2, 1, 3) and out.shape == (2, N, 1, K)
    decoded = jax.jit(functools.partial(apply, method="decode"))((z,))
    np.testing.assert_allclose(decoded, out, rtol=1e-5, atol=1e-6)
    still = (jnp.zeros_like(noise[0]),)
    difference = jax.jit(apply)(x, still)[1][0] - log_q
    np.testing.assert_allclose(difference, 0.5 * noise[0] ** 2, atol=1e-5)


def test_a_row_of_a_table_is_not_halved():
    """Three columns with three, three and two classes."""
    runs = ((2, 3), (1, 2))
    vae = VAE(
        network=SequenceVAE(**FIELDS | dict(num_outputs=3, halvings=0)),
        likelihood=CategoricalLikelihood(num_classes=3, allowed=runs),
        data_shape=(3, 1, 1),
    )
    assert vae.prior_shape == (3, 1, 3)
    params, mutables = vae.init(jax.random.key(0))
    drawn = vae.generate(params, mutables, (jnp.zeros((50, 3, 1, 3)),)).sample(
        jax.random.key(1)
    )
    highest = np.asarray(drawn)[..., 0, 0].max(0)
    np.testing.assert_allclose(highest, [1, 1, 0])


@pytest.mark.parametrize("context", [0, 2])
def test_every_parameter_matters(context):
    network, variables, x, noise = setup(context=context)

    def loss(params):
        (z,), (log_q,), out = network.apply({"params": params}, x, noise, train=True)
        return jnp.sum(jnp.sin(out)) + jnp.sum(log_q * z)

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.abs(gradient).max() > 0, path


def test_a_symbol_sees_the_ones_in_its_window_and_no_other():
    """Given the latents, the logits of place i depend on x_{i-2} and x_{i-1}."""
    network, variables, x, noise = setup(context=2)
    variables = jax.tree.map(lambda v: v + 0.1, variables)
    z = jax.jit(functools.partial(network.apply, variables, train=False))(x, noise)[0]
    vae = VAE(
        network=network,
        likelihood=CategoricalLikelihood(num_classes=K),
        data_shape=(N, 1, 1),
    )
    made = vae.generate(variables["params"], {"batch_stats": {}}, z)
    before = np.asarray(made.log_prob(x))
    for place in range(N):
        changed = jnp.where(jnp.arange(N)[None, :, None, None] == place, -x, x)
        if (changed == x).all():
            continue
        after = np.asarray(made.log_prob(changed))
        # Of examples whose symbol there did change.
        moved = (np.abs(after - before) > 1e-6)[
            np.asarray(changed != x)[:, place, 0, 0]
        ]
        assert moved[:, place : place + 3].all()
        assert not np.delete(moved, slice(place, place + 3), axis=1).any()


def test_the_pass_that_knows_x_scores_it_as_generation_does():
    network, variables, x, noise = setup(context=2)
    vae = VAE(
        network=network,
        likelihood=CategoricalLikelihood(num_classes=K),
        data_shape=(N, 1, 1),
    )
    own = variables["params"], {"batch_stats": {}}
    inferred = vae.infer(*own, x, noise, train=False)
    made = vae.reconstruct(*own, inferred)
    np.testing.assert_allclose(
        vae.likelihood_of(inferred.out).log_prob(x), made.log_prob(x), atol=1e-5
    )
    mean = made.mean()
    assert mean.shape == x.shape
    # Each symbol of the greedy text is the likeliest after those before it.
    inferred = vae.infer(*own, mean, noise, train=False)
    logits = network.apply(
        variables,
        network.apply(variables, inferred.z, train=False, method="decode")[:, :, 0],
        jnp.zeros((2, N, 2), jnp.int32),
        method="head",
    )
    assert logits.shape == (2, N, K)


def test_convolution_is_one():
    layer, x = SequenceConv(3), jax.random.normal(jax.random.key(0), (2, 7, 1, 4))
    variables = layer.init(jax.random.key(1), x)
    kernel = variables["params"]["Dense_0"]["kernel"].reshape(5, 4, 3)
    expected = jax.lax.conv_general_dilated(
        x[:, :, 0], kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    np.testing.assert_allclose(layer.apply(variables, x)[:, :, 0], expected, atol=1e-5)


def test_score_network():
    """As good as silent at the start; it sees all places, and the time."""
    network = SequenceScore(width=8, blocks=2)
    u, t = jax.random.normal(jax.random.key(0), (2, 6, 1, 3)), jnp.array([0.2, 0.7])
    variables = initialize(network, jax.random.key(1), u, t, train=False)
    run = jax.jit(functools.partial(network.apply, train=False))
    out = run(variables, u, t)
    assert out.shape == u.shape and 0 < np.abs(out).max() < 0.02
    rng = np.random.default_rng(0)
    trained = jax.tree.map(
        lambda v: v + jnp.asarray(0.3 * rng.normal(size=v.shape), v.dtype), variables
    )
    moved = run(trained, u.at[:, 0].add(1.0), t) - run(trained, u, t)
    assert (np.abs(moved[:, -1]) > 1e-6).any()
    assert (np.abs(run(trained, u, t + 0.1) - run(trained, u, t)) > 1e-6).any()


def test_one_hot_input_forgets_the_order_of_classes():
    """Classes renamed, and the first kernel with them: the same latents."""
    inner = ConvVAE(channels=(4,), latent_channels=2, num_outputs=3)
    network = OneHotInput(network=inner, num_classes=3)
    codes = np.random.default_rng(0).integers(0, 3, (2, 4, 4, 1))
    x, noise = to_x(jnp.asarray(codes), 2), (jnp.zeros((2, 2, 2, 2)),)
    assert network.latent_shapes((4, 4, 1)) == (((2, 2, 2),),)
    variables = initialize(network, jax.random.key(0), x, noise, train=False)
    names = np.array([2, 0, 1])
    renamed = to_x(jnp.asarray(names[codes]), 2)
    kernel = variables["params"]["inner"]["encoder_0"]["resize"]["kernel"]
    assert kernel.shape[2] == 3
    moved = kernel[:, :, np.argsort(names)]
    params = jax.tree.map(lambda v: moved if v is kernel else v, variables["params"])
    run = jax.jit(functools.partial(network.apply, train=False, method="encode"))
    np.testing.assert_allclose(
        run({"params": params}, renamed, noise)[0][0],
        run(variables, x, noise)[0][0],
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(width=0), "width = 0"),
        (dict(context=-1), "context = -1"),
        (dict(halvings=-1), "halvings = -1"),
        (dict(log_std_clamp=0.0), "log_std_clamp"),
    ],
)
def test_impossible_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        SequenceVAE(**FIELDS | fields)


@pytest.mark.parametrize("shape", [(6, 1, 1), (8, 2, 1), (8, 1, 3)])
def test_what_is_no_sequence_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(n, 1, 1\), n a multiple of 4"):
        SequenceVAE(**FIELDS | dict(halvings=2)).latent_shapes(shape)


def test_score_network_refuses_impossible_fields():
    with pytest.raises(ValueError, match="multiple of 4"):
        SequenceScore(width=6)
    with pytest.raises(ValueError, match="blocks = 0"):
        SequenceScore(blocks=0)

"""The small convolutional VAE: the same contract as the NVAE."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.networks.conv import ConvVAE
from lsgm.networks.initialize import initialize

FIELDS = dict(channels=(4, 8), latent_channels=3, num_outputs=2)


def setup(**fields):
    network = ConvVAE(**FIELDS | fields)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(-1, 1, (2, 8, 12, 1)), jnp.float32)
    ((shape,),) = network.latent_shapes(x.shape[1:])
    noise = (jnp.asarray(rng.standard_normal((2, *shape)), jnp.float32),)
    variables = initialize(network, jax.random.key(2), x, noise, train=False)
    return network, variables, x, noise


@pytest.mark.parametrize("norm_groups", [0, 4])
def test_contract(norm_groups):
    network, variables, x, noise = setup(norm_groups=norm_groups)
    apply = functools.partial(network.apply, variables, train=False)
    (z,), (log_q,), out = jax.jit(apply)(x, noise)
    assert z.shape == log_q.shape == (2, 2, 3, 3)
    assert out.shape == (2, 8, 12, 2)
    decoded = jax.jit(functools.partial(apply, method="decode"))((z,))
    np.testing.assert_allclose(decoded, out, rtol=1e-5, atol=1e-6)


def test_log_q_is_that_of_the_noise():
    """log q(noise) - log q(0) = -noise^2 / 2."""
    network, variables, x, noise = setup()
    run = jax.jit(functools.partial(network.apply, variables, train=False))
    still = (jnp.zeros_like(noise[0]),)
    difference = run(x, noise)[1][0] - run(x, still)[1][0]
    np.testing.assert_allclose(difference, -0.5 * noise[0] ** 2, atol=1e-5)


def test_every_parameter_matters():
    """Each moves the output or the densities."""
    network, variables, x, noise = setup()

    def loss(params):
        (z,), (log_q,), out = network.apply({"params": params}, x, noise, train=True)
        return jnp.sum(jnp.sin(out)) + jnp.sum(log_q * z)

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.abs(gradient).max() > 0, path


def test_kernels_and_scales_are_known():
    network, variables, x, noise = setup()
    _, sown = jax.eval_shape(
        lambda: network.apply(
            variables, x, noise, train=True, mutable=["kernels", "scales"]
        )
    )
    kernels = [p for p in jax.tree.leaves(variables) if p.ndim == 4]
    assert len(jax.tree.leaves(sown["kernels"])) == len(kernels) == 11
    assert len(jax.tree.leaves(sown["scales"])) == 8


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("channels", (), "levels"),
        ("norm_groups", 3, "divide"),
        ("latent_channels", 0, ">= 1"),
        ("log_std_clamp", -1.0, "> 0"),
    ],
)
def test_refused_with_field_and_reason(field, value, words):
    with pytest.raises(ValueError, match=rf"{field} = .*{words}"):
        ConvVAE(**FIELDS | {field: value})


def test_image_must_halve():
    with pytest.raises(ValueError, match=r"data_shape = \(28, 30, 1\).*of 4"):
        ConvVAE(**FIELDS).latent_shapes((28, 30, 1))

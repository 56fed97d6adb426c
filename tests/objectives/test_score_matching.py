"""The mixed score is the textbook mixture, formed without its cancellation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.objectives.score_matching import mixed_residual, squared_error
from lsgm.sdes.geometric import GeometricVPSDE
from tests.sdes.catalog import ALL

LOGIT = jnp.array([-3.0, 0.0, 2.0])


def inputs(sde, dtype=jnp.float64):
    z_shape = (4, 2, 2, 3)
    state = sde.state_shape(z_shape)
    keys = jax.random.split(jax.random.key(0), 3)
    u, eps, eps_prime = (
        jax.random.normal(key, shape, dtype)
        for key, shape in zip(
            keys, (state, state, sde.noise_shape(z_shape)), strict=True
        )
    )
    return u, eps, eps_prime, jnp.linspace(0.05, 0.95, 4, dtype=dtype)


def name(sde):
    return type(sde).__name__


@pytest.mark.parametrize("sde", ALL, ids=name)
def test_the_mixture(x64, sde):
    """Eq. (1) is (1 - a) normal_eps + a eps', a per channel."""
    u, eps, eps_prime, t = inputs(sde)
    logit = LOGIT.astype(u.dtype)
    a = jax.nn.sigmoid(logit)[None, None, None]
    normal = sde.normal_eps(u, t)
    expected = (1 - a) * normal + a * eps_prime
    residual = mixed_residual(sde, eps_prime, u, t, logit)
    np.testing.assert_allclose(normal + residual, expected, rtol=1e-12, atol=1e-14)
    error = squared_error(sde, eps, residual, u, t)
    squared = (sde.noised(eps) - expected) ** 2
    np.testing.assert_allclose(error, squared, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("sde", ALL, ids=name)
def test_without_mixing_the_network_predicts_alone(x64, sde):
    u, eps, eps_prime, t = inputs(sde)
    residual = mixed_residual(sde, eps_prime, u, t, None)
    error = squared_error(sde, eps, residual, u, t)
    squared = (sde.noised(eps) - eps_prime) ** 2
    np.testing.assert_allclose(error, squared, rtol=1e-9, atol=1e-14)


def test_a_normal_predictor_leaves_nothing(x64):
    """What the network does not add is exactly zero, and learns through a alone."""
    sde = GeometricVPSDE()
    u, _, eps_prime, t = inputs(sde)
    logit = LOGIT.astype(u.dtype)
    normal = sde.normal_eps(u, t)
    assert jnp.array_equal(mixed_residual(sde, normal, u, t, logit), 0 * u)

    def total(logit, eps_prime):
        return jnp.sum(mixed_residual(sde, eps_prime, u, t, logit))

    to_logit, to_output = jax.grad(total, (0, 1))(logit, eps_prime)
    a = jax.nn.sigmoid(logit)
    slope = a * (1 - a) * jnp.sum(eps_prime - normal, (0, 1, 2))
    np.testing.assert_allclose(to_logit, slope, rtol=1e-10)
    a = jnp.broadcast_to(a, u.shape)
    np.testing.assert_allclose(to_output, a, rtol=1e-12)

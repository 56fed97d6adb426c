"""The standard normal prior."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from lsgm.priors.normal import StandardNormal

SHAPE = (3, 2, 2, 4)


def terms(z0):
    return StandardNormal().terms({}, {}, (), z0, step=jnp.int32(0), train=True)


def test_cross_entropy_is_the_density():
    z0 = jax.random.normal(jax.random.key(0), SHAPE)
    found = terms(z0)
    np.testing.assert_allclose(found.cross_entropy, -norm.logpdf(z0), rtol=1e-6)
    gradient = jax.grad(lambda z: jnp.sum(terms(z).cross_entropy))(z0)
    np.testing.assert_allclose(gradient, z0, rtol=1e-6)


def test_it_owns_nothing():
    prior = StandardNormal()
    assert prior.groups == () and prior.has_bound
    assert prior.init(jax.random.key(0), SHAPE[1:]) == ({}, {})
    assert terms(jnp.zeros(SHAPE)).losses == {}


def test_samples():
    prior = StandardNormal()
    done = prior.sample({}, {}, jax.random.key(0), (2000, 2, 1, 1), temperature=0.5)
    assert int(done.nfe) == 0 and done.path is None
    assert abs(float(done.z0.std()) - 0.5) < 5 * 0.5 / np.sqrt(2 * 4000)
    assert abs(float(done.z0.mean())) < 5 * 0.5 / np.sqrt(4000)
    path = prior.sample({}, {}, jax.random.key(0), SHAPE, num_path=3).path
    assert path.shape == (3, *SHAPE)

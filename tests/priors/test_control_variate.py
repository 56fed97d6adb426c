"""Eq. (3) of the score prior: the same bound as Eq. (2), with less noise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import elbo
from lsgm.objectives.weighting import LikelihoodWeighting
from lsgm.runs import experiment
from lsgm.sdes.vpsde import VPSDE
from tests import tiny
from tests.sdes import catalog


def quadrature_of_normal_bound(sde, z0: float, t_min: float) -> float:
    """Theorem 1 for ``normal_eps`` on one number z0: the expectation over eps is
    in closed form, the time integral by the trapezoid rule on a fine grid."""
    t = jnp.exp(jnp.linspace(jnp.log(t_min), 0.0, 200_001))
    num = sde.state_shape((1, 1))[1]
    shift = sde.normal_eps(sde.mean(jnp.full((t.size, 1), z0), t), t)
    error = shift[:, 0] ** 2
    for unit in jnp.eye(num):
        # What is left of each component of eps.
        eps = jnp.broadcast_to(unit[None], (t.size, num))
        left = sde.noised(eps) - sde.normal_eps(sde.scale_noise(eps, t), t)
        error += left[:, 0] ** 2
    values = LikelihoodWeighting()(sde, t) * error
    integral = jnp.sum(0.5 * (values[1:] + values[:-1]) * jnp.diff(t))
    end = sde.prior_kl(jnp.full((1, 1), z0))[0, 0]
    return float(integral + sde.bound_constant(t_min) + end)


@pytest.mark.parametrize("sde", catalog.ALL, ids=str)
@pytest.mark.parametrize("z0", [0.0, 0.7, -2.5])
def test_normal_bound_is_the_bound_of_the_normal_predictor(x64, sde, z0):
    found = sde.normal_bound(jnp.full((1, 1), z0), 1e-2)[0, 0]
    expected = quadrature_of_normal_bound(sde, z0, 1e-2)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_normal_bound_of_vpsde_is_the_normal_cross_entropy_at_small_cutoff(x64):
    z0 = jnp.asarray([[-1.3, 0.2]])
    found = VPSDE().normal_bound(z0, 1e-6)
    exact = 0.5 * (z0**2 + np.log(2 * np.pi))
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_both_estimators_have_one_mean_and_the_new_one_less_noise():
    made = experiment.from_config(tiny.config())
    model = made.stages["lsgm"].objective(made.vae).model
    params, mutables = model.init(jax.random.key(0))
    params = jax.tree.map(lambda p: p + 0.05, params)
    plain = dataclasses.replace(model.prior, control_variate=False)
    z0 = jnp.tile(jax.random.normal(jax.random.key(1), (1, 8, 8, 2)), (1024, 1, 1, 1))
    draws = elbo.draw(model, jax.random.key(2), 1024).prior

    def estimate(prior):
        terms = jax.jit(
            lambda z: prior.terms(
                params, mutables, draws, z, step=jnp.int32(0), train=False
            )
        )(z0)
        return np.asarray(terms.cross_entropy.sum((1, 2, 3)), np.float64)

    new, old = estimate(model.prior), estimate(plain)
    error = (new - old).std() / np.sqrt(1024)
    assert abs(new.mean() - old.mean()) < 4 * error
    assert new.std() < 0.2 * old.std()

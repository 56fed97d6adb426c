"""CLD's bound of single data, by quadrature: tight for exact scores, else above."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.objectives.time_sampling import Importance, Uniform
from lsgm.objectives.weighting import LikelihoodWeighting, Unweighted
from lsgm.priors.score import ScoreDraws, ScorePrior
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.cld import CLD
from tests.samplers.exact import AnyMixture

SHAPE = (1, 1, 1)
POINTS = np.array([-1.1, -0.4, 0.1, 1.3])
# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}


class MixtureNetwork(nn.Module):
    """Predicts the velocity's noise of a mixture; its residual may be too small."""

    mixture: Any
    share: float = 1.0

    def __call__(self, u, t, *, train):
        flat = u.reshape(len(u), -1)
        residual = self.share * self.mixture.residual(flat, t)
        normal = self.mixture.sde.normal_eps(flat, t)
        return (residual + normal).reshape(len(u), *SHAPE)


def make(sde, t_min, share=1.0, **fields):
    times = Importance(weighting=LikelihoodWeighting(), t_min=t_min)
    fields = {"weighting": LikelihoodWeighting(), "time_sampler": times, **fields}
    return ScorePrior(
        sde=sde,
        network=MixtureNetwork(AnyMixture(sde, (-0.8, 0.9), 0.1), share),
        sampler=ProbabilityFlow(),
        mixed=False,
        **fields,
    )


def bound(prior, x, num_times=200, order=16, slope=False):
    """J of each datum [n], or its slope: midpoints of rho, Gauss-Hermite in noise."""
    places, weights = np.polynomial.hermite_e.hermegauss(order)
    eps = np.stack(np.meshgrid(places, places), -1).reshape(-1, 2)
    share = np.outer(weights, weights).ravel() / weights.sum() ** 2
    rho = (np.arange(num_times) + 0.5) / num_times
    rhos, eps = np.repeat(rho, len(eps)), np.tile(eps, (num_times, 1))
    draws = ScoreDraws(jnp.asarray(eps)[:, None, None], jnp.asarray(rhos), None)
    params, mutables = prior.init(jax.random.key(0), SHAPE)

    def of(z):
        z0 = jnp.full((len(rhos), *SHAPE), z)
        found = prior.terms(
            params, mutables, draws, z0, step=jnp.int32(0), train=False
        ).cross_entropy
        return jnp.sum(found.ravel() * jnp.asarray(np.tile(share, num_times)))

    each = jax.vmap(jax.grad(of) if slope else of)
    return np.asarray(jax.jit(each, compiler_options=QUICK)(x)) / num_times


@pytest.mark.parametrize("gamma", [0.04, 1.0])
@pytest.mark.parametrize("t_min", [1e-4, 1e-2])
def test_bound_is_the_density_of_an_exact_score(x64, gamma, t_min):
    """Whatever the cutoff. The model ends with noise nu on an estimate of error nu."""
    prior = make(CLD(gamma=gamma), t_min)
    nu = float(prior.sde.data_noise(jnp.array([t_min]))[0])
    model = AnyMixture(prior.sde, prior.network.mixture.centres, 0.1 + 2 * nu)
    excess = bound(prior, jnp.asarray(POINTS)) + model.log_density(POINTS)
    assert np.all(excess > -1e-4) and np.all(excess < 3e-4 + 20 * nu)


def test_slope_of_the_bound_is_that_of_the_density(x64):
    """What an encoder receives, by way of positions and velocities."""
    prior = make(CLD(), 1e-3)
    found = bound(prior, jnp.asarray(POINTS), slope=True)
    log_density, step = prior.network.mixture.log_density, 1e-5
    rise = log_density(POINTS + step) - log_density(POINTS - step)
    np.testing.assert_allclose(found, -rise / (2 * step), atol=2e-2)


def test_bound_lies_above_the_entropy(x64):
    """A wrong predictor, in the mean over the data."""
    prior = make(CLD(), 1e-3, share=0.7)
    places, weights = np.polynomial.hermite_e.hermegauss(8)
    data = np.add.outer(np.array([-0.8, 0.9]), 0.1**0.5 * places).ravel()
    share = np.tile(weights / weights.sum() / 2, 2)
    excess = bound(prior, jnp.asarray(data)) + prior.network.mixture.log_density(data)
    assert 0.02 < np.sum(share * excess) < 1


def test_plain_score_matching_adds_noise_to_the_loss_alone():
    """target_spread^2 in the mean, and nothing to the bound."""
    times = Uniform(t_min=1e-3)
    priors = [
        make(CLD(), 1e-3, weighting=Unweighted(), time_sampler=times, hybrid=hybrid)
        for hybrid in (True, False)
    ]
    num = 20_000
    keys = jax.random.split(jax.random.key(1), num)
    draws = priors[1].draw(jax.random.key(2), keys, jnp.arange(num), num, SHAPE)
    # Early times, where velocities are still what they were.
    draws = draws._replace(rho=0.01 * draws.rho)
    z0 = jnp.full((num, *SHAPE), 0.4)
    params, mutables = priors[0].init(jax.random.key(0), SHAPE)
    found = [
        jax.jit(
            lambda d, z, p=p: p.terms(
                params, mutables, d, z, step=jnp.int32(0), train=False
            ),
            compiler_options=QUICK,
        )(draws, z0)
        for p in priors
    ]
    np.testing.assert_array_equal(found[0].cross_entropy, found[1].cross_entropy)
    t, density = times.times(priors[0].sde, draws.rho)
    expected = priors[0].sde.target_spread(t) ** 2 / density
    gap = found[1].losses["prior"] - found[0].losses["prior"] - expected
    assert abs(float(jnp.mean(gap))) < 5 * float(jnp.std(gap)) / num**0.5
    assert float(jnp.mean(expected)) > 0.1
    assert not priors[1].shares_objective


def test_a_network_is_mixed_or_has_a_base_added():
    with pytest.raises(ValueError, match="base_added = True.*set mixed = False"):
        ScorePrior(
            sde=CLD(),
            network=nn.Dense(1),
            weighting=Unweighted(),
            time_sampler=Uniform(),
            sampler=ProbabilityFlow(),
            base_added=True,
        )


def test_an_added_base_is_the_published_mixed_score():
    prior = make(CLD(), 1e-3, base_added=True)
    params, mutables = prior.init(jax.random.key(0), SHAPE)
    u, t = jax.random.normal(jax.random.key(1), (3, 1, 1, 2)), jnp.full((3,), 0.3)
    network = prior.network.apply({}, u, t, train=False)
    found = prior.residual_fn(params, mutables)(u, t) + prior.sde.normal_eps(u, t)
    expected = network + prior.sde.base_eps(u, t)
    np.testing.assert_allclose(found, expected, atol=1e-6)

"""Samplers and likelihoods on a state that is wider than the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.config import ConfigError, build
from lsgm.samplers.fixed_grid import FixedGrid
from lsgm.samplers.likelihood import log_likelihood, rademacher, unit_vectors
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.cld import CLD
from lsgm.sdes.vpsde import VPSDE
from tests import tiny
from tests.marks import first_fast
from tests.samplers.exact import AnyGaussian, Counter, Gaussian, classes

END = 1e-3
VARIANCES = (0.3, 1.0, 1.8)
FLOW = ProbabilityFlow(rtol=1e-7, atol=1e-7, t_end=END)
SDES = [CLD(), CLD(beta_0=0.1, beta_1=7.0, mass=1.0, gamma=1.0)]
# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}
each_sde = pytest.mark.parametrize("sde", SDES, ids=str)


def solve(sde, residual, z0, probes, eps, flow=FLOW):
    def run(z, p, e):
        return log_likelihood(flow, sde, residual, z, p, e)

    return jax.jit(run, compiler_options=QUICK)(z0, probes, eps)


def test_predictors_by_matrices_are_those_of_scalar_processes(x64):
    """The helper of this file against the one that all scalar tests rest on."""
    sde, t = VPSDE(), jnp.array([0.01, 0.3, 0.9])
    u = jax.random.normal(jax.random.key(0), (3, 3))
    data, plain = AnyGaussian(sde, VARIANCES), Gaussian(sde, VARIANCES)
    np.testing.assert_allclose(data.residual(u, t), plain.residual(u, t), atol=1e-12)
    for i in range(3):
        found = data.log_prob(u, t[i])
        np.testing.assert_allclose(found, plain.log_prob(u, jnp.full(3, t[i])))


@pytest.mark.parametrize("sde", first_fast(SDES), ids=str)
def test_flow_maps_the_last_marginal_to_the_first(x64, sde):
    """The flow of Gaussian data is linear: F C(1) F' = C(t_end), no samples needed."""
    data = AnyGaussian(sde, VARIANCES)
    units = jnp.repeat(jnp.eye(2), 3, axis=1)  # the same unit in every dimension
    run = jax.jit(
        lambda u: FLOW(jax.random.key(0), sde, data.residual, u).u,
        compiler_options=QUICK,
    )
    maps = data.blocks(run(units)).transpose(2, 1, 0)  # [d s s]
    mapped = maps @ data.covariance(1.0) @ maps.mT
    np.testing.assert_allclose(mapped, data.covariance(END), atol=1e-5)
    positions = mapped[:, 0, 0] / np.asarray(VARIANCES)
    np.testing.assert_allclose(positions, 1, atol=1e-3)


@each_sde
def test_log_likelihood_of_gaussians(x64, sde):
    """log p(x, v) - log q(v) for the velocity drawn; log p(x) for each draw where the
    data are Normal, for q is their conditional."""
    data = AnyGaussian(sde, VARIANCES)
    z0, eps = jax.random.normal(jax.random.key(0), (2, 4, 3))
    done = solve(sde, data.residual, z0, unit_vectors(z0.shape), eps)
    u0, log_q = sde.lift(z0, jnp.full(4, END), eps)
    gap = sde.prior_log_prob(done.u1) - data.log_prob(done.u1, 1.0)
    expected = data.log_prob(u0, END) - log_q
    np.testing.assert_allclose(done.log_prob - gap, expected, atol=2e-4)

    normal = AnyGaussian(sde, (1.0, 1.0, 1.0))
    done = solve(sde, normal.residual, z0, unit_vectors(z0.shape), eps)
    gap = sde.prior_log_prob(done.u1) - normal.log_prob(done.u1, 1.0)
    var = normal.covariance(END)[:, 0, 0][None]
    expected = jnp.sum(-0.5 * (z0**2 / var + jnp.log(2 * jnp.pi * var)), 1)
    np.testing.assert_allclose(done.log_prob - gap, expected, atol=2e-4)
    assert np.max(np.abs(gap)) < 1e-2


def test_log_likelihood_is_a_bound_close_to_the_density(x64):
    """In the mean over velocities; data of other variances than the lift's."""
    sde, data = SDES[0], AnyGaussian(SDES[0], VARIANCES)
    places, weights = np.polynomial.hermite_e.hermegauss(5)
    # The sum over dimensions takes one place in all of them: it is additive.
    eps = jnp.broadcast_to(jnp.asarray(places)[:, None], (5, 3))
    z0 = jnp.broadcast_to(jnp.array([[0.6, -1.2, 2.0]]), (5, 3))
    u0, log_q = sde.lift(z0, jnp.full(5, END), eps)
    bound = np.sum(weights * (data.log_prob(u0, END) - log_q)) / np.sum(weights)
    var = data.covariance(END)[:, 0, 0]
    density = jnp.sum(-0.5 * (z0[0] ** 2 / var + jnp.log(2 * jnp.pi * var)))
    assert density - 5e-3 < bound < density - 1e-6


def test_probes_on_the_noised_part_are_unbiased():
    """A Gaussian's divergence is the same for every sign: exact with one probe."""
    sde, data = SDES[0], AnyGaussian(SDES[0], VARIANCES)
    z0, eps = jax.random.normal(jax.random.key(0), (2, 4, 3))
    flow = ProbabilityFlow(rtol=1e-4, atol=1e-4, t_end=1e-2)
    counter = Counter(data.residual)
    probes = rademacher(jax.random.key(1), z0.shape)
    one = solve(sde, counter, z0, probes, eps, flow)
    exact = solve(sde, data.residual, z0, unit_vectors(z0.shape), eps, flow)
    np.testing.assert_allclose(one.log_prob, exact.log_prob, atol=2e-3)
    assert int(one.nfe) == counter.total()


def test_a_velocity_has_to_be_drawn():
    sde, z0 = SDES[0], jnp.ones((2, 3))
    with pytest.raises(ValueError, match="eps is None: CLD.* draw a velocity"):
        log_likelihood(FLOW, sde, lambda u, t: u[:, :3], z0, unit_vectors(z0.shape))


@pytest.mark.parametrize("method", classes(FixedGrid), ids=lambda cls: cls.__name__)
def test_tables_are_for_scalar_processes(method):
    with pytest.raises(ValueError, match=f"{method.__name__} needs a .*SDE, not CLD"):
        method().check(SDES[0])


def test_a_config_with_a_table_and_an_augmented_process_is_refused_by_name():
    spec = tiny.score_prior(
        sde={"target": "lsgm.sdes.cld:CLD"},
        sampler={"target": "lsgm.samplers.ddim:DDIM"},
    )
    message = r"stages\.lsgm\.prior.*DDIM needs a ScalarSDE, not CLD.*ProbabilityFlow"
    with pytest.raises(ConfigError, match=message):
        build(spec, "stages.lsgm.prior")
    spec["sampler"] = {"target": "lsgm.samplers.probability_flow:ProbabilityFlow"}
    assert build(spec, "stages.lsgm.prior").sde == CLD()

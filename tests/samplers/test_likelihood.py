"""Log-likelihoods along the flow against densities that are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.samplers.likelihood import (
    gaussian,
    log_likelihood,
    rademacher,
    unit_vectors,
)
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE
from tests.samplers.exact import Counter, Gaussian, Mixture

VARIANCES = (0.3, 0.9, 1.8)
CENTRES = [[-1.0, 0.3], [1.2, -0.4], [0.1, 0.9]]
END = 1e-3
# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}
FLOW = ProbabilityFlow(rtol=1e-6, atol=1e-6, t_end=END)


def solve(flow, sde, residual, u0, probes):
    def run(u, p):
        return log_likelihood(flow, sde, residual, u, p)

    return jax.jit(run, compiler_options=QUICK)(u0, probes)


def at_end(u0):
    return jnp.full(u0.shape[:1], END, u0.dtype)


@pytest.mark.parametrize(
    "sde",
    [
        pytest.param(VPSDE(), id="VPSDE"),
        pytest.param(VESDE(var_max=1e4), id="VESDE"),
        pytest.param(SubVPSDE(), id="SubVPSDE", marks=pytest.mark.slow),
        pytest.param(GeometricVPSDE(), id="GeometricVPSDE", marks=pytest.mark.slow),
    ],
)
def test_gaussian_density(x64, sde):
    """Exact up to p(u_1), which is the prior only as far as the process reaches."""
    data, u0 = Gaussian(sde, VARIANCES), jax.random.normal(jax.random.key(0), (4, 3))
    done = solve(FLOW, sde, data.residual, u0, unit_vectors(u0.shape))
    u1, first = data.flow(u0, 1.0), jnp.ones(u0.shape[:1])
    # flow() starts from t = 1, so divide by its ratio twice to run it backwards.
    u1 = u0 * u0 / data.flow(u0, END)
    np.testing.assert_allclose(done.u1, u1, rtol=1e-4)
    gap = sde.prior_log_prob(u1) - data.log_prob(u1, first)
    expected = data.log_prob(u0, at_end(u0)) + gap
    np.testing.assert_allclose(done.log_prob, expected, atol=2e-4)


@pytest.mark.parametrize(
    "per_sample", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_mixture_density(x64, per_sample):
    sde = VPSDE()
    data = Mixture(sde, CENTRES, 0.1)
    u0 = jax.random.normal(jax.random.key(0), (5, 2))
    flow = dataclasses.replace(FLOW, per_sample=per_sample)
    done = solve(flow, sde, data.residual, u0, unit_vectors(u0.shape))
    first = jnp.ones(u0.shape[:1])
    gap = sde.prior_log_prob(done.u1) - data.log_prob(done.u1, first)
    expected = data.log_prob(u0, at_end(u0)) + gap
    np.testing.assert_allclose(done.log_prob, expected, atol=2e-4)


def test_image_shaped_latents(x64):
    """The trace does not depend on how dimensions are arranged."""
    sde = VPSDE()
    data = Gaussian(sde, (0.3, 0.9, 1.8, 0.5))
    u0 = jax.random.normal(jax.random.key(0), (2, 2, 2, 1))

    def residual(u, t):
        return data.residual(u.reshape(-1, 4), t).reshape(u.shape)

    done = solve(FLOW, sde, residual, u0, unit_vectors(u0.shape))
    flat = u0.reshape(-1, 4)
    expected = solve(FLOW, sde, data.residual, flat, unit_vectors(flat.shape))
    np.testing.assert_allclose(done.log_prob, expected.log_prob, rtol=1e-9)


@pytest.mark.parametrize("draw", [rademacher, gaussian])
def test_probes_are_unbiased(draw):
    """The mean over many single probes is the exact trace's result."""
    sde = VPSDE()
    data = Mixture(sde, CENTRES, 0.3)
    copies = 3000
    u0 = jnp.broadcast_to(jnp.array([[0.4, -0.8]]), (copies, 2))
    flow = ProbabilityFlow(rtol=1e-4, atol=1e-4, t_end=1e-2)
    probes = draw(jax.random.key(2), u0.shape)
    found = np.asarray(solve(flow, sde, data.residual, u0, probes).log_prob)
    exact = solve(flow, sde, data.residual, u0[:1], unit_vectors((1, 2))).log_prob
    assert found.std() > 0.01
    assert abs(found.mean() - exact[0]) < 4.5 * found.std() / copies**0.5 + 2e-3


@pytest.mark.parametrize("draw", [rademacher, gaussian])
def test_several_probes_average(draw):
    """k probes have covariance 1 / k each, and 1 / k of the variance."""
    probes = draw(jax.random.key(2), (2000, 3), 4)
    assert probes.shape == (2000, 4, 3)
    covariance = np.einsum("bki,bkj->ij", probes, probes) / 2000
    np.testing.assert_allclose(covariance, np.eye(3), atol=0.1)
    matrix = np.array([[1.0, 0.7, -0.3], [0.7, -0.4, 0.5], [-0.3, 0.5, 0.8]])

    def spread(probes):
        return np.einsum("bki,ij,bkj->b", probes, matrix, probes).var()

    ratio = spread(draw(jax.random.key(3), (2000, 3))) / spread(probes)
    assert 3 < ratio < 5.2


def test_every_call_is_counted():
    sde = VPSDE()
    counter = Counter(Mixture(sde, CENTRES, 0.1).residual)
    u0 = jax.random.normal(jax.random.key(0), (3, 2))
    flow = ProbabilityFlow(rtol=1e-3, atol=1e-3, t_end=END)
    done = solve(flow, sde, counter, u0, rademacher(jax.random.key(1), u0.shape, 2))
    assert int(done.nfe) == counter.total()
    assert int(done.nfe) % 6 == 2


def test_sampling_returns_to_the_data(x64):
    sde = VPSDE()
    data = Mixture(sde, CENTRES, 0.1)
    u0 = jax.random.normal(jax.random.key(0), (3, 2))
    there = solve(FLOW, sde, data.residual, u0, unit_vectors(u0.shape))
    back = FLOW(jax.random.key(1), sde, data.residual, there.u1)
    np.testing.assert_allclose(back.u, u0, atol=1e-4)

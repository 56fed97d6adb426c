"""Likelihoods in the residual's own coordinate, against densities that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.samplers.grids import Quadratic
from lsgm.samplers.likelihood import log_likelihood, unit_vectors
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.samplers.residual_flow import ResidualFlow
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE
from tests.samplers.exact import Counter, Gaussian, Mixture

CENTRES = [[-1.0, 0.3], [0.9, -0.6], [0.1, 0.3]]  # of mean 0
END = 1e-3
POINTS = np.random.default_rng(0).normal(size=(5, 2))


def solve(flow, sde, residual):
    def run(u, probes):
        return log_likelihood(flow, sde, residual, u, probes)

    return jax.jit(run)(jnp.asarray(POINTS), unit_vectors(POINTS.shape))


def largest_error(sde, data, **fields):
    """Of log p at t_end in nats, the density at t = 1 being known."""
    done = solve(ResidualFlow(t_end=END, **fields), sde, data.residual)
    gap = sde.prior_log_prob(done.u1) - data.log_prob(done.u1, jnp.ones(len(POINTS)))
    exact = data.log_prob(jnp.asarray(POINTS), jnp.full(len(POINTS), END)) + gap
    return float(jnp.max(jnp.abs(done.log_prob - exact)))


@pytest.mark.parametrize("sde", [VPSDE(), GeometricVPSDE()])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_one_call_is_exact_for_normal_data(x64, sde, order):
    stationary = 1.0 - sde.var_0
    data = Gaussian(sde, (stationary, stationary))
    assert largest_error(sde, data, num_steps=1, order=order) < 1e-9


@pytest.mark.parametrize(
    ("order", "least", "most"), [(1, 0.8, 1.2), (2, 1.7, 2.4), (3, 1.7, 2.6)]
)
def test_order_of_convergence(x64, order, least, most):
    """The first step has one slope, so no order is above 2 for long."""
    sde = VPSDE()
    data = Mixture(sde, CENTRES, 0.2)
    errors = [largest_error(sde, data, num_steps=n, order=order) for n in (40, 80, 160)]
    found = np.log2(errors[0] / errors[2]) / 2
    assert least < found < most
    assert errors[2] < (0.04 if order == 1 else 4e-3)


def test_agrees_with_the_adaptive_solver(x64):
    """On another grid, and of data whose mean is not 0."""
    sde = GeometricVPSDE()
    data = Mixture(sde, [[0.5, 0.3], [1.2, -0.4]], 0.3)
    adaptive = ProbabilityFlow(rtol=1e-7, atol=1e-7, t_end=END)
    expected = solve(adaptive, sde, data.residual)
    flow = ResidualFlow(t_end=END, num_steps=400, order=3)
    found = solve(flow, sde, data.residual)
    np.testing.assert_allclose(found.log_prob, expected.log_prob, atol=2e-3)
    np.testing.assert_allclose(found.u1, expected.u1, atol=2e-3)


def test_each_step_is_one_call():
    """Whatever the number of probes: one forward-mode product holds them all."""
    sde = VPSDE()
    counter = Counter(Mixture(sde, CENTRES, 0.2).residual)
    flow = ResidualFlow(t_end=END, num_steps=7, grid=Quadratic())
    done = log_likelihood(
        flow, sde, counter, jnp.float32(POINTS[:1]), unit_vectors((1, 2))[:, :1]
    )
    assert done.nfe == 7 and counter.total() == 7


def test_other_processes_are_refused():
    sde = VESDE(var_max=100.0)
    with pytest.raises(ValueError, match="VariancePreservingSDE.*ProbabilityFlow"):
        solve(ResidualFlow(), sde, Gaussian(sde, (1.0, 1.0)).residual)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(t_end=0.0), r"t_end must lie in \(0, 1\), not 0.0"),
        (dict(num_steps=0), "num_steps must be at least 1, not 0"),
        (dict(order=4), "order must be 1, 2 or 3, not 4"),
    ],
)
def test_impossible_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ResidualFlow(**fields)


def test_the_second_solve_has_fewer_steps():
    assert ResidualFlow(num_steps=15).loosened(10.0).num_steps == 2
    assert ResidualFlow(num_steps=1).loosened(10.0).num_steps == 1

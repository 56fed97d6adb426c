"""Laws of every fixed-grid sampler, found by scanning the package.

Orders of convergence are measured by regression on Gaussian data, whose probability
flow is known, and on a mixture against the ODE solved tightly; a stochastic sampler's
by the variance that its table produces, which needs no draws.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.samplers.deis import DEIS
from lsgm.samplers.fixed_grid import FixedGrid
from lsgm.samplers.grids import Angle, LogSNR, marginals
from lsgm.samplers.normal_residual import NormalResidual
from lsgm.samplers.predictor_corrector import PredictorCorrector
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE
from tests.samplers.exact import (
    Counter,
    Gaussian,
    Mixture,
    PointMass,
    classes,
    variances,
)

VP = VPSDE()
ALL = [cls() for cls in classes(FixedGrid)]
STOCHASTIC = [
    s for s in ALL if "noise" in dataclasses.replace(s, num_steps=4).table(VP)
]
DETERMINISTIC = [s for s in ALL if s not in STOCHASTIC]
GENERAL = [s for s in DETERMINISTIC if s.needs is FixedGrid.needs]
ORDERS = [
    dataclasses.replace(s, order=order)
    for s in DETERMINISTIC
    if "order" in {field.name for field in dataclasses.fields(s)}
    for order in (1, 2, 3)
    if order != s.order
]
VARIANCES = (0.4, 1.7)
CENTRES = ((-1.0, 0.3), (1.2, -0.4), (0.1, 0.9))
KEY = 5
# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}


def name(value):
    order = f"-{value.order}" if "order" in vars(value) else ""
    return type(value).__name__ + order


def states(shape, dtype=jnp.float64):
    return jax.random.normal(jax.random.key(1), shape, dtype)


def run(sampler, sde, residual, u1, **settings):
    """The sampler, compiled as a whole and lightly."""

    def sample(key, u):
        return sampler(key, sde, residual, u, **settings)

    return jax.jit(sample, compiler_options=QUICK)(jax.random.key(KEY), u1)


def slope(sizes, errors):
    """Order of convergence."""
    return -np.polyfit(np.log(sizes), np.log(errors), 1)[0]


@pytest.mark.parametrize("sampler", [*DETERMINISTIC, *ORDERS], ids=name)
def test_order_of_convergence(x64, sampler):
    """Multistep methods begin with a step of order 1, which caps theirs at 2."""
    data, u1 = Gaussian(VP, VARIANCES), states((3, 2))
    sizes, errors = (128, 512), []
    for num_steps in sizes:
        finer = dataclasses.replace(sampler, num_steps=num_steps, t_end=1e-3)
        u = run(finer, VP, data.residual, u1).u
        errors.append(float(jnp.max(jnp.abs(u - data.flow(u1, 1e-3)))))
    assert slope(sizes, errors) > min(sampler.order, 2) - 0.35
    assert errors[-1] < (3e-2 if sampler.order == 1 else 3e-4)


@pytest.mark.parametrize("sampler", [DEIS(), NormalResidual(order=3)], ids=name)
def test_order_3_after_an_exact_start(sampler):
    """What the first two steps, of lower order, hide in a whole run."""
    data_var, errors = 0.4, []
    for num_steps in (32, 128):
        finer = dataclasses.replace(sampler, num_steps=num_steps, t_end=1e-3)
        table = finer.table(VP)
        at = marginals(VP, np.append(table["t"], 1e-3))
        exact = np.sqrt(at.alpha**2 * data_var + at.sigma**2)
        rate = at.sigma[:-1] / exact[:-1] ** 2 - marginals(VP, table["t"]).anchor
        slopes = table["anchor"] + table["scale"] * rate
        u = exact.copy()
        for k in range(2, num_steps):
            stored = (slopes * u[:-1])[k - 2 : k + 1][::-1]
            u[k + 1] = table["keep"][k] * u[k] + table["weights"][k] @ stored
        errors.append(abs(u[-1] - exact[-1]))
    assert slope((32, 128), errors) > 2.7


@pytest.mark.parametrize("sampler", STOCHASTIC, ids=name)
def test_weak_order_of_convergence(x64, sampler):
    # Langevin steps have a bias of their own, of order snr^2.
    small = {"snr": 0.01} if isinstance(sampler, PredictorCorrector) else {}
    sizes, errors = (128, 512), []
    for num_steps in sizes:
        settings = {"num_steps": num_steps, "t_end": 1 / num_steps, **small}
        var = variances(dataclasses.replace(sampler, **settings), VP, 0.4)
        errors.append(abs(var - 0.4))
    assert slope(sizes, errors) > sampler.order - 0.2
    assert errors[-1] < 0.02


@pytest.mark.parametrize("sampler", STOCHASTIC, ids=name)
def test_draws_have_the_variance_of_the_table(sampler):
    sampler = dataclasses.replace(sampler, num_steps=12, t_end=0.02)
    data = Gaussian(VP, (0.4,) * 8)
    done = run(sampler, VP, data.residual, states((4096, 8), jnp.float32))
    expected = variances(sampler, VP, 0.4)
    samples = np.asarray(done.u).ravel()
    error = expected * np.sqrt(2 / samples.size)
    assert abs(samples.var() - expected) < 5 * error
    assert abs(samples.mean()) < 5 * np.sqrt(expected / samples.size)


@pytest.mark.parametrize("sampler", STOCHASTIC, ids=name)
def test_draws_differ_between_keys_and_examples(sampler):
    sampler = dataclasses.replace(sampler, num_steps=3, t_end=0.1)
    data, u1 = Gaussian(VP, (1.0,)), jnp.ones((2, 1))
    first, again, other = (
        sampler(jax.random.key(seed), VP, data.residual, u1).u for seed in (0, 0, 1)
    )
    assert jnp.array_equal(first, again)
    assert len(np.unique(jnp.concatenate([first, other]))) == 4


@functools.cache
def ode_end(sde, end):
    """Where the probability flow of the mixture ends."""
    flow = ProbabilityFlow(rtol=1e-8, atol=1e-8, t_end=end)
    residual = Mixture(sde, CENTRES, 0.1).residual
    return flow(jax.random.key(KEY), sde, residual, states((6, 2))).u


@pytest.mark.parametrize(
    "sde",
    [
        pytest.param(VP, id="VPSDE"),
        pytest.param(GeometricVPSDE(), id="GeometricVPSDE", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("sampler", DETERMINISTIC, ids=name)
def test_agrees_with_the_ode_in_the_limit(x64, sampler, sde):
    data = Mixture(sde, CENTRES, 0.1)
    u1, end = states((6, 2)), 1e-3
    expected = ode_end(sde, end)
    grid = Angle() if sampler.order == 1 else sampler.grid
    grid = LogSNR() if type(sampler).__name__ == "DEIS" else grid
    sizes, errors = (150, 600), []
    for num_steps in sizes:
        settings = {"num_steps": num_steps, "t_end": end, "grid": grid}
        finer = dataclasses.replace(sampler, **settings)
        u = run(finer, sde, data.residual, u1).u
        errors.append(float(jnp.max(jnp.abs(u - expected))))
    assert errors[-1] < (3e-2 if sampler.order == 1 else 2e-3)
    assert slope(sizes, errors) > min(sampler.order, 2) - 0.35


@pytest.mark.parametrize("sampler", STOCHASTIC, ids=name)
def test_moments_of_a_mixture(sampler):
    centres = np.array(CENTRES)
    data = Mixture(VP, centres, 0.1)
    fine = dataclasses.replace(sampler, num_steps=300, t_end=1e-3)
    u = run(fine, VP, data.residual, states((3000, 2), jnp.float32)).u
    u = np.asarray(u)
    covariance = 0.1 * np.eye(2) + np.cov(centres.T, bias=True)
    deviation = np.sqrt(np.diag(covariance))
    bias = 0.02  # of order 1 / num_steps
    assert np.all(abs(u.mean(0) - centres.mean(0)) < 4.5 * deviation / 3000**0.5 + bias)
    scale = np.outer(deviation, deviation)
    error = abs(np.cov(u.T) - covariance) / scale
    assert np.all(error < 4.5 * np.sqrt(2 / 3000) + bias)


POINT_SDES = [VP, GeometricVPSDE(), SubVPSDE(), VESDE(var_max=100.0)]


@pytest.mark.parametrize("sampler", GENERAL, ids=name)
def test_exact_prediction_lands_on_the_exact_marginal(x64, sampler):
    """A constant eps_hat is integrated without error, in 4 steps, for any process."""
    coarse = dataclasses.replace(sampler, num_steps=4, t_end=1e-2)
    for sde in POINT_SDES:
        data, u1 = PointMass(sde, jnp.asarray([[0.7, -1.1]])), states((3, 2))
        u = run(coarse, sde, data.residual, u1).u
        np.testing.assert_allclose(u, data.flow(u1, 1e-2), atol=1e-7)


@pytest.mark.parametrize("sampler", ALL, ids=name)
def test_calls_and_path(sampler):
    data, u1 = Gaussian(VP, VARIANCES), states((3, 2), jnp.float32)
    sampler = dataclasses.replace(sampler, num_steps=6, t_end=0.05)
    counter = Counter(data.residual)
    done = run(sampler, VP, counter, u1, num_path=4)
    assert done.nfe.dtype == jnp.int32
    assert int(done.nfe) == counter.total() == len(sampler.table(VP)["t"])
    assert done.path.shape == (4, 3, 2)
    assert jnp.array_equal(done.path[0], u1)
    assert jnp.array_equal(done.path[-1], done.u)
    assert len(np.unique(np.asarray(done.path)[:, 0, 0])) == 4
    plain = run(sampler, VP, data.residual, u1)
    assert plain.path is None
    np.testing.assert_allclose(plain.u, done.u, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sampler", ALL, ids=name)
def test_a_batch_of_one_and_more_path_than_steps(sampler):
    sampler = dataclasses.replace(sampler, num_steps=2, t_end=0.1)
    u1 = jnp.ones((1, 2))
    done = run(sampler, VP, Gaussian(VP, VARIANCES).residual, u1, num_path=7)
    assert done.path.shape == (7, 1, 2) and bool(jnp.all(jnp.isfinite(done.u)))
    assert jnp.array_equal(done.path[0], u1)
    assert jnp.array_equal(done.path[-1], done.u)


@pytest.mark.parametrize("sampler", ALL, ids=name)
def test_normal_start_scales_to_the_variance_there(sampler):
    sde = SubVPSDE() if sampler.needs is FixedGrid.needs else VP
    sampler = dataclasses.replace(sampler, num_steps=2, t_start=0.4, t_end=0.2)
    u1 = states((2, 3), jnp.float32)
    path = run(sampler, sde, lambda u, t: 0 * u, u1, num_path=3).path
    ratio = sde.normal_var(jnp.array([0.4])) / sde.normal_var(jnp.array([1.0]))
    np.testing.assert_allclose(path[0], jnp.sqrt(ratio)[:, None] * u1, rtol=1e-5)


@pytest.mark.parametrize("sampler", ALL, ids=name)
def test_bad_settings_are_named(sampler):
    for field, value in (("num_steps", 0), ("t_start", 1.5), ("t_end", 0.0)):
        with pytest.raises(ValueError, match=field):
            dataclasses.replace(sampler, **{field: value})


def test_the_scan_finds_every_kind():
    assert len(STOCHASTIC) >= 4 and len(DETERMINISTIC) >= 6

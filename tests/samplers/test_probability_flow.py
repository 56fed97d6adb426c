"""The adaptive probability flow against closed forms, SciPy, and counted calls."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lsgm.samplers.base import require_finite
from lsgm.samplers.probability_flow import METHODS, ProbabilityFlow, velocity
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE
from tests.samplers.exact import Counter, Gaussian, Mixture

KEY = 3
# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}
SDES = [VPSDE(), GeometricVPSDE(), SubVPSDE(), VESDE(var_max=100.0)]
CENTRES = [[-1.0, 0.3], [1.2, -0.4], [0.1, 0.9]]


def name(value):
    return type(value).__name__


def states(sde, shape, dtype=jnp.float64):
    return sde.prior_var**0.5 * jax.random.normal(jax.random.key(1), shape, dtype)


def run(flow, sde, residual, u1, **settings):
    def solve(u):
        return flow(jax.random.key(KEY), sde, residual, u, **settings)

    return jax.jit(solve, compiler_options=QUICK)(u1)


def scipy_solution(sde, residual, u1, t_end, tol, **settings):
    field = jax.jit(velocity(sde, residual))

    def rhs(t, y):
        times = jnp.full(u1.shape[:1], t)
        return np.asarray(field(jnp.asarray(y).reshape(u1.shape), times)).ravel()

    start = np.asarray(u1).ravel()
    return solve_ivp(rhs, (1.0, t_end), start, rtol=tol, atol=tol, **settings)


@pytest.mark.parametrize("sde", SDES, ids=name)
def test_gaussian_flow(x64, sde):
    data, u1 = Gaussian(sde, (0.3, 0.9, 1.8)), states(sde, (4, 3))
    flow = ProbabilityFlow(rtol=1e-7, atol=1e-7, t_end=1e-3)
    done = run(flow, sde, data.residual, u1)
    np.testing.assert_allclose(done.u, data.flow(u1, 1e-3), atol=1e-5)


@pytest.mark.parametrize("sde", SDES[:2], ids=name)
def test_steps_are_those_of_scipy(x64, sde):
    """The same calls at the same times: equal counts and equal results."""
    data, u1 = Mixture(sde, CENTRES, 0.05), states(sde, (5, 2))
    for tol in (1e-2, 1e-5):
        flow = ProbabilityFlow(rtol=tol, atol=tol, t_end=1e-5)
        done = run(flow, sde, data.residual, u1)
        theirs = scipy_solution(sde, data.residual, u1, 1e-5, tol)
        assert int(done.nfe) == theirs.nfev
        np.testing.assert_allclose(
            np.ravel(done.u), theirs.y[:, -1], rtol=1e-6, atol=1e-8
        )


def test_steps_are_those_of_scipy_with_a_given_first_step(x64):
    data, u1 = Mixture(VPSDE(), CENTRES, 0.05), states(VPSDE(), (5, 2))
    flow = ProbabilityFlow(rtol=1e-2, atol=1e-2, first_step=0.4)
    done = run(flow, VPSDE(), data.residual, u1)
    settings = {"first_step": 0.4}
    theirs = scipy_solution(VPSDE(), data.residual, u1, flow.t_end, 1e-2, **settings)
    assert int(done.nfe) == theirs.nfev
    assert int(done.nfe) % 6 == 1


@pytest.mark.parametrize(
    ("method", "first_step"),
    [("dopri5", None), ("dopri5", 0.3), ("tsit5", None), ("bosh3", 0.3)],
)
def test_every_executed_call_is_counted(method, first_step):
    sde = VPSDE()
    counter = Counter(Mixture(sde, CENTRES, 0.02).residual)
    flow = ProbabilityFlow(
        rtol=1e-3, atol=1e-3, t_end=1e-3, method=method, first_step=first_step
    )
    done = run(flow, sde, counter, states(sde, (3, 2), jnp.float32))
    assert int(done.nfe) == counter.total()
    assert done.nfe.dtype == jnp.int32


def test_rejected_steps_happen_and_count(x64):
    """A first step over the whole interval is rejected; its calls are paid for."""
    sde = VPSDE()
    data, u1 = Gaussian(sde, (0.01,)), states(sde, (2, 1))
    counter = Counter(data.residual)
    flow = ProbabilityFlow(rtol=1e-6, atol=1e-6, t_end=1e-2, first_step=0.9)
    done = run(flow, sde, counter, u1)
    accepted = scipy_solution(sde, data.residual, u1, 1e-2, 1e-6, first_step=0.9)
    assert int(done.nfe) == counter.total() > 1 + 6 * (len(accepted.t) - 1)
    np.testing.assert_allclose(done.u, data.flow(u1, 1e-2), atol=1e-4)


def test_calls_of_per_sample_steps_are_those_of_the_slowest():
    """Examples that are done wait: the network runs on all until the last one is."""
    sde = VPSDE()
    counter = Counter(Mixture(sde, CENTRES, 0.02).residual)
    flow = ProbabilityFlow(rtol=1e-3, atol=1e-3, t_end=1e-3, per_sample=True)
    done = run(flow, sde, counter, states(sde, (3, 2), jnp.float32))
    assert int(done.nfe) == counter.total()


@pytest.mark.parametrize("per_sample", [False, True])
def test_path(per_sample):
    sde = VPSDE()
    data, u1 = Gaussian(sde, (0.3, 1.8)), states(sde, (3, 2), jnp.float32)
    flow = ProbabilityFlow(rtol=1e-4, atol=1e-4, t_end=1e-2, per_sample=per_sample)
    done = run(flow, sde, data.residual, u1, num_path=5)
    assert done.path.shape == (5, 3, 2)
    np.testing.assert_array_equal(done.path[0], u1)
    np.testing.assert_array_equal(done.path[-1], done.u)
    for t, u in zip(np.linspace(1, 1e-2, 5), done.path, strict=True):
        np.testing.assert_allclose(u, data.flow(u1, t), atol=5e-3)


def test_a_batch_of_one_equals_per_sample_steps(x64):
    sde = VPSDE()
    data, u1 = Mixture(sde, CENTRES, 0.05), states(sde, (4, 2))
    flow = ProbabilityFlow(rtol=1e-3, atol=1e-3, t_end=1e-3)
    alone = [run(flow, sde, data.residual, u1[i : i + 1]) for i in range(2)]
    own = dataclasses.replace(flow, per_sample=True)
    done = run(own, sde, data.residual, u1[:2])
    expected = jnp.concatenate([one.u for one in alone])
    np.testing.assert_allclose(done.u, expected, rtol=1e-9, atol=1e-10)
    assert int(done.nfe) == max(int(one.nfe) for one in alone)


@pytest.mark.slow
def test_methods_agree(x64):
    sde = VPSDE()
    data, u1 = Mixture(sde, CENTRES, 0.05), states(sde, (3, 2))
    ends = []
    for method in METHODS:
        flow = ProbabilityFlow(rtol=1e-6, atol=1e-6, t_end=1e-3, method=method)
        ends.append(run(flow, sde, data.residual, u1).u)
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], atol=1e-4)


def test_normal_data_do_not_move(x64):
    sde = VPSDE()
    u1 = states(sde, (3, 2))
    done = run(ProbabilityFlow(), sde, lambda u, t: 0 * u, u1)
    np.testing.assert_array_equal(done.u, u1)


@pytest.mark.parametrize("per_sample", [False, True])
def test_what_is_not_solved_is_not_a_number(per_sample):
    sde = VPSDE()
    flow = ProbabilityFlow(
        rtol=1e-6, atol=1e-6, t_end=1e-3, max_steps=2, per_sample=per_sample
    )
    residual = Mixture(sde, CENTRES, 0.05).residual
    u1 = states(sde, (2, 2), jnp.float32)
    done = flow(jax.random.key(0), sde, residual, u1, num_path=3)
    assert np.isnan(done.u).all() and np.isnan(done.path).all()
    assert int(done.nfe) == 2 + 6 * 2
    with pytest.raises(FloatingPointError, match="samples are not all finite.*max_st"):
        require_finite(done.u, "samples")
    require_finite((u1, u1), "samples")


def test_the_compiled_program_has_no_callback():
    """JAX keeps no program that has one, and TPUs run none."""
    sde = VPSDE()
    residual = Mixture(sde, CENTRES, 0.05).residual
    key, flow = jax.random.key(KEY), ProbabilityFlow()
    sample = jax.jit(lambda u1: flow(key, sde, residual, u1))
    text = sample.lower(states(sde, (2, 2), jnp.float32)).as_text()
    assert "while" in text and "callback" not in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rtol", 0.0),
        ("atol", -1.0),
        ("max_steps", 0),
        ("method", "euler"),
        ("first_step", 2.0),
        ("t_end", 0.0),
    ],
)
def test_bad_settings_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        ProbabilityFlow(**{field: value})

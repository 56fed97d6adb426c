"""Samplers of Langevin diffusions: their flows, orders, ends and counts.

On Gaussian data a step is linear, so covariances are propagated exactly: no draws.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.numerics import on_host
from lsgm.samplers.base import Samples
from lsgm.samplers.ddim import DDIM
from lsgm.samplers.euler_maruyama import EulerMaruyama
from lsgm.samplers.grids import LogSNR, QuadraticFromEnd, UniformGrid
from lsgm.samplers.langevin import LangevinSampler
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.samplers.sscs import SSCS, stationary_step
from lsgm.sdes.cld import CLD
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE
from tests.marks import first_fast
from tests.samplers.exact import AnyGaussian, Counter, Gaussian, classes

CONSTANT, LINEAR = CLD(), CLD(beta_0=0.1, beta_1=7.0)
METHODS = [*(cls() for cls in classes(LangevinSampler)), SSCS(stages=2)]
# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}


def key(seed=3):
    return jax.random.key(seed)


def states(*shape, seed=3):
    return jax.random.normal(key(seed), shape)


def name(value):
    return type(value).__name__ + str(getattr(value, "stages", ""))


def data(sde, var=0.3):
    return AnyGaussian(sde, (var,))


def end_covariance(sampler, sde, var=0.3):
    """Of samples that start from the exact marginal at t = 1."""
    rows = {k: jnp.asarray(x) for k, x in sampler.table(sde).items()}
    zero, unit = jnp.zeros((2, 2)), jnp.eye(2)
    no_noise, gaussian = jnp.zeros((sampler.draws, 2, 2)), data(sde, var)

    def maps(row):
        def step(u, noise):
            return sampler.advance(row, sde, gaussian.residual, u, noise)

        roots = [step(zero, no_noise.at[k].set(unit)) for k in range(sampler.draws)]
        return step(unit, no_noise), jnp.concatenate(roots)

    steps, roots = jax.jit(jax.vmap(maps), compiler_options=QUICK)(rows)
    covariance = np.asarray(gaussian.covariance(1.0))[0]
    for step, root in zip(np.asarray(steps), np.asarray(roots), strict=True):
        covariance = step.T @ covariance @ step + root.T @ root
    return covariance


ORDERS = {"LangevinEuler": 1, "SSCS1": 1, "SSCS2": 2}


@pytest.mark.parametrize("sampler", METHODS, ids=name)
def test_weak_order_of_convergence(x64, sampler):
    """SSCS with one call a step has order 1, with two it has the splitting's own."""
    exact = np.asarray(data(LINEAR).covariance(1e-3))[0]
    sizes, errors = (400, 1600), []
    for num_steps in sizes:
        finer = dataclasses.replace(sampler, num_steps=num_steps)
        errors.append(abs(end_covariance(finer, LINEAR) - exact)[0, 0])
    order = -np.diff(np.log(errors))[0] / np.log(4)
    assert order == pytest.approx(ORDERS[name(sampler)], abs=0.06)


@pytest.mark.parametrize("compatible", [False, True])
def test_flows_cover_all_of_the_time(compatible):
    """The determinant of a flow tells its length. With the first half's length for
    both, as published, some is counted twice."""
    sampler = SSCS(num_steps=20, denoise="none", reference_compatible=compatible)
    table = sampler.table(LINEAR)
    maps = np.concatenate([table["first"], table["second"]])
    covered = -np.sum(np.log(np.linalg.det(maps)))
    ends = on_host(LINEAR.elapsed, [1e-3, 1.0])
    excess = covered / (ends[1] - ends[0]) - 1
    assert (excess > 0.03) if compatible else abs(excess) < 1e-12


def test_flow_in_closed_form(x64):
    """Pins at B-length 0.02, the semigroup, and the prior that it leaves alone."""
    y = np.array([0.08, 0.8, 2.0, 2.8])
    maps, roots = stationary_step(CONSTANT, y)
    expected = [[0.999221017, -0.0768631551], [0.0192157888, 0.922357862]]
    np.testing.assert_allclose(maps[0], expected, rtol=1e-8)
    added = roots @ roots.swapaxes(1, 2)
    expected = [[8.03735940e-5, -1.47698615e-3], [-1.47698615e-3, 0.0369447473]]
    np.testing.assert_allclose(added[0], expected, rtol=1e-8)
    both = maps[2] @ added[1] @ maps[2].T + added[2]
    np.testing.assert_allclose(maps[2] @ maps[1], maps[3], rtol=1e-12)
    np.testing.assert_allclose(both, added[3], rtol=1e-12)
    prior = np.diag([1.0, CONSTANT.mass])
    for step, more in zip(maps, added, strict=True):
        kept = step @ prior @ step.T + more
        np.testing.assert_allclose(kept, prior, atol=1e-14)


def test_no_force_on_data_like_the_prior(x64):
    """The score -v / M: Normal data whose velocities match."""
    sde = CLD(gamma=1.0)
    u, t = states(3, 4), jnp.array([0.01, 0.3, 1.0])
    np.testing.assert_allclose(sde.force(u, t, jnp.zeros((3, 2))), 0, atol=1e-14)


@pytest.mark.parametrize("sampler", METHODS, ids=name)
@pytest.mark.parametrize(
    ("denoise", "compatible"), [("drift", False), ("drift", True), ("mean", True)]
)
def test_calls_are_counted_in_both_conventions(sampler, denoise, compatible):
    """The published one makes a last call, which moves no position."""
    sampler = dataclasses.replace(
        sampler, num_steps=5, denoise=denoise, reference_compatible=compatible
    )
    counter = Counter(data(CONSTANT).residual)
    u1 = states(3, 2)
    done = jax.jit(
        lambda u: sampler(key(), CONSTANT, counter, u, num_path=3),
        compiler_options=QUICK,
    )(u1)
    assert int(done.nfe) == counter.total()
    steps = 5 - (compatible and denoise == "drift")
    last = denoise == "mean" or (compatible and denoise == "drift")
    assert int(done.nfe) == sampler.calls * steps + last
    assert done.path.shape == (3, 3, 2)
    np.testing.assert_array_equal(done.path[0], u1)
    np.testing.assert_array_equal(done.path[-1], done.u)


def test_published_evaluations_are_one_step_fewer():
    """n published evaluations give the positions of n - 1 steps, on constant beta and a
    uniform grid, where the flows' lengths agree too."""
    u1 = states(3, 2)
    ours = SSCS(num_steps=4, grid=UniformGrid())
    theirs = dataclasses.replace(ours, num_steps=5, reference_compatible=True)
    found = [s(key(), CONSTANT, data(CONSTANT).residual, u1) for s in (ours, theirs)]
    np.testing.assert_allclose(found[0].u[:, 0], found[1].u[:, 0], atol=1e-6)
    assert [int(done.nfe) for done in found] == [4, 5]


def at_end(u):
    return Samples(u, jnp.int32(0))


def test_the_drift_does_not_see_the_network(x64):
    """A network changes the mean of the posterior alone; positions move by
    -t_end beta v / M."""
    u = states(3, 2)
    for denoise, calls in (("drift", 0), ("mean", 1)):
        flow = ProbabilityFlow(t_end=1e-3, denoise=denoise)
        done = [
            flow.finish(CONSTANT, lambda u, t, c=c: c + u[:, 1:], at_end(u))
            for c in (0.0, 5.0)
        ]
        assert np.allclose(done[0].u, done[1].u, atol=1e-12) == (denoise == "drift")
        assert [int(d.nfe) for d in done] == [calls] * 2
        if denoise == "drift":
            moved = u[:, 0] - 1e-3 * CONSTANT.beta_0 / CONSTANT.mass * u[:, 1]
            np.testing.assert_allclose(done[0].u[:, 0], moved, rtol=1e-12)


@pytest.mark.parametrize("t_end", first_fast([1e-2, 1e-3]))
def test_denoising_nears_the_data(x64, t_end):
    """Root mean squared errors to z_0: of the state, after the drift, of the mean."""
    z0 = 0.3**0.5 * states(20_000, 1)
    t = jnp.full((20_000,), t_end)
    u = CONSTANT.perturb(z0, t, states(20_000, 2, seed=4))
    errors = []
    for denoise in ("none", "drift", "mean"):
        flow = ProbabilityFlow(t_end=t_end, denoise=denoise)
        done = flow.finish(CONSTANT, data(CONSTANT).residual, at_end(u))
        errors.append(float(jnp.std(CONSTANT.lower(done.u) - z0)))
    assert errors[0] > 1.1 * errors[1] > 1.1 * 1.1 * errors[2]
    best = float(jnp.exp(-0.5 * CONSTANT.log_snr(t[:1]))[0])
    assert errors[2] == pytest.approx(best, rel=0.03)


@pytest.mark.parametrize("sde", [VPSDE(), VESDE(var_max=50.0)], ids=["vp", "ve"])
def test_denoising_of_scalar_processes_costs_one_call(x64, sde):
    """The reverse step without noise, and the posterior's mean."""
    gaussian, u = Gaussian(sde, (0.3,)), states(3, 1)
    t = jnp.full((3,), 1e-2)
    residual = gaussian.residual(u, t)
    score = sde.score(sde.normal_eps(u, t) + residual, t)
    step = u - 1e-2 * (sde.drift(u, t) - sde.g2(t)[:, None] * score)
    mean = 0.3 * sde.alpha(t) / gaussian.marginal_var(t)[:, 0]
    for sampler in (DDIM, EulerMaruyama):
        for denoise, expected in (("drift", step), ("mean", mean[:, None] * u)):
            done = sampler(t_end=1e-2, denoise=denoise)
            done = done.finish(sde, gaussian.residual, at_end(u))
            assert int(done.nfe) == 1
            np.testing.assert_allclose(done.u, expected, rtol=1e-9)


@pytest.mark.parametrize("grid", [LogSNR(), QuadraticFromEnd()], ids=["snr", "t"])
def test_samples_have_the_variance_of_the_data(grid):
    """In float32 as it is run, from the prior, on grids in t and in the SNR."""
    sampler = SSCS(num_steps=200, grid=grid)

    @jax.jit
    def run(start):
        u1 = LINEAR.prior_sample(start, (20_000, 1))
        return sampler(key(), LINEAR, data(LINEAR).residual, u1).u

    ratio = float(jnp.var(LINEAR.lower(run(key(1))))) / 0.3
    assert ratio == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("sampler", METHODS, ids=name)
def test_scalar_processes_are_refused(sampler):
    message = (
        f"{type(sampler).__name__} needs a Langevin process, not VPSDE.*EulerMaruyama"
    )
    with pytest.raises(ValueError, match=message):
        sampler.check(VPSDE())


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_steps", 0), ("stages", 3), ("denoise", "last"), ("t_end", 0.0)],
)
def test_bad_fields_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        SSCS(**{field: value})
    with pytest.raises(ValueError, match="num_steps must be at least 2, not 1"):
        SSCS(num_steps=1, reference_compatible=True)

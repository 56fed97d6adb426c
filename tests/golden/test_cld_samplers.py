"""CLD's samplers against the published code, on its noise.

Every entry ``sampler/<method>_<score>_n<evaluations>_<grid>_denoise<0|1>`` of a fixture
is one run. The published conventions are ours under ``reference_compatible``.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.samplers.base import Samples
from lsgm.samplers.grids import QuadraticFromEnd, UniformGrid
from lsgm.samplers.langevin_euler import LangevinEuler
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.samplers.sscs import SSCS
from tests.golden.cld_fixture import Golden
from tests.golden.files import fixtures_with

METHODS = {"sscs": SSCS, "em": LangevinEuler}
GRIDS = {"linear": UniformGrid(), "quadratic": QuadraticFromEnd()}
RUN = re.compile(r"sampler/(sscs|em)_(\w+)_n(\d+)_(\w+)_denoise([01])/x")
# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}
# As a fraction of the largest value.
TOLERANCE = 1e-4


@functools.cache
def load(file):
    return Golden(file)


@pytest.fixture(params=fixtures_with("chol_hsm*", "sampler/*"))
def golden(request, x64):
    return load(request.param)


@functools.cache
def residual_of(golden, score):
    if score == "gauss":
        return golden.residual(golden.gaussian_score)

    def toy(u, t):
        network = golden.toy_network(u, t)
        if not golden.config["mixed_score"]:
            return network - golden.sde.normal_eps(u, t)
        return network + golden.sde.base_eps(u, t) - golden.sde.normal_eps(u, t)

    return toy


@functools.cache
def step_of(golden, method, score):
    """A step, which depends on a sampler's row alone, compiled."""
    advance, residual = METHODS[method]().advance, residual_of(golden, score)
    return jax.jit(
        lambda row, u, noise: advance(row, golden.sde, residual, u, noise),
        compiler_options=QUICK,
    )


def run(golden, method, score, sampler, noises):
    """The sampler's loop with given noise."""
    rows, step = sampler.table(golden.sde), step_of(golden, method, score)
    num, draws = len(rows["t"]), sampler.draws
    drawn = noises[: num * draws].reshape(num, draws, *noises.shape[1:])
    u = golden["sampler/u_init"]
    for k in range(num):
        row = {name: jnp.asarray(column[k]) for name, column in rows.items()}
        u = step(row, u, jnp.asarray(drawn[k]))
    residual = residual_of(golden, score)
    return sampler.finish(golden.sde, residual, Samples(u, jnp.int32(num)))


def test_stochastic_samplers(golden):
    noises = np.moveaxis(golden.arrays["sampler/noise"], 2, -1).astype(np.float64)
    found = [match for key in golden.arrays if (match := RUN.fullmatch(key))]
    assert found
    for match in found:
        method, score, calls, grid, denoise = match.groups()
        sampler = METHODS[method](
            num_steps=int(calls),
            t_end=golden.config["sampling_eps"],
            grid=GRIDS[grid],
            denoise="drift" if denoise == "1" else "none",
            reference_compatible=True,
        )
        done = run(golden, method, score, sampler, noises)
        assert int(done.nfe) == int(calls)
        for part, ours in (("x", golden.sde.lower), ("v", golden.sde.noised)):
            stored = golden[f"{match.group().removesuffix('x')}{part}"]
            scale = float(jnp.max(jnp.abs(stored)))
            error = np.abs(ours(done.u) - stored).max() / scale
            assert error < TOLERANCE, (match.group(), part, error)


def test_times(golden):
    """Stored backwards."""
    for name, grid in GRIDS.items():
        stored = golden.arrays.get(f"sampler/sscs_t_{name}")
        if stored is not None:
            ours = grid(golden.sde, 1.0, golden.config["sampling_eps"], len(stored) - 1)
            np.testing.assert_allclose(1 - ours, stored, atol=1e-6)


@pytest.mark.parametrize("score", ["gauss", "toy"])
def test_probability_flow(golden, score):
    """The last evaluation moves velocities alone: ours does without."""
    residual = residual_of(golden, score)
    end = golden.config["sampling_eps"]
    flow = ProbabilityFlow(rtol=1e-5, atol=1e-5, t_end=end, denoise="drift")
    done = jax.jit(lambda u: flow(jax.random.key(0), golden.sde, residual, u))(
        golden["sampler/u_init"]
    )
    stored = golden[f"sampler/ode_{score}_denoise1/x"]
    scale = float(jnp.max(jnp.abs(stored)))
    np.testing.assert_allclose(golden.sde.lower(done.u), stored, atol=1e-3 * scale)
    calls = int(golden.arrays[f"sampler/ode_{score}_denoise1/nfe"]) - 1
    assert abs(int(done.nfe) - calls) <= 6

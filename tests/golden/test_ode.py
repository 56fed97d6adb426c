"""Flows, likelihoods and the discrete chain against the published ones.

The published variance of the linear process is 1 - exp(-x) in float32, 20 % off at
t = 1e-6, where it divides the prediction. Ours is exact, which moves z0 by 2e-3, so
the solver is held to the published numbers with the published variance. The sub-VP
process has such differences in its diffusion and its Normal part too. They change
the slope at the start, from which the first step is chosen: at tolerance 1e-2 and
t = 1e-6 the likelihood of one image moves by 0.1 nats, through the steps alone.

The published solver keeps its state in float64 and evaluates the network in float32;
ours is float32 throughout. At tolerance 1e-2 that changes nothing; at 1e-5 the
network's rounding steers the steps of either. Limits grow from the one to the other.
"""

import dataclasses
import functools
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lsgm import config as configs
from lsgm.interop import ncsnpp_names
from lsgm.numerics import expand_to
from lsgm.objectives.time_sampling import Uniform
from lsgm.objectives.weighting import LikelihoodWeighting
from lsgm.priors.score import ScorePrior
from lsgm.samplers.ancestral import Ancestral
from lsgm.samplers.grids import marginals
from lsgm.samplers.likelihood import log_likelihood
from lsgm.samplers.probability_flow import ProbabilityFlow, velocity
from lsgm.sdes.scalar import VariancePreservingSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vpsde import VPSDE
from tests.golden.files import base_of, fixtures_with, keys_of, parameters
from tests.golden.test_sde import make_sde

# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}
PRIOR = ("sde_config", "ode_eps", "config")
# At tolerances 1e-2 and 1e-5: share of the calls, z0, nats. Calls always within a step.
LOOSE, TIGHT = (0.0, 1e-4, 0.02), (0.15, 1e-2, 0.1)
STEP = 6


def nhwc(array):
    return jnp.asarray(np.moveaxis(array, -3, -1))


class PublishedVPSDE(VPSDE):
    """The linear process with the published code's float32 variance."""

    def var(self, t):
        return 1 - (1 - self.var_0) * jnp.exp(-self.int_beta(t))


class PublishedSubVPSDE(SubVPSDE):
    """The sub-VP process in the published code's float32 forms, its velocity too."""

    def g2(self, t):
        return self.beta(t) * (1 - jnp.exp(-2 * self.proposal.int_beta(t)))

    def var(self, t):
        decay = jnp.exp(-self.proposal.int_beta(t))
        return (1 - decay) ** 2 + self.var_0 * decay

    def normal_var(self, t):
        decay = jnp.exp(-self.proposal.int_beta(t))
        return (1 - decay) ** 2 + decay

    def probability_flow(self, u, t, residual):
        eps = self.normal_eps(u, t) + residual
        half_g2 = expand_to(0.5 * self.g2(t), u)
        return self.drift(u, t) + half_g2 * eps / expand_to(jnp.sqrt(self.var(t)), u)


ROUNDED = {VPSDE: PublishedVPSDE, SubVPSDE: PublishedSubVPSDE}


def published(sde):
    """The process with the published rounding, where that matters."""
    cls = ROUNDED.get(type(sde), type(sde))
    return cls(**dataclasses.asdict(sde))


class Golden:
    """The prior that a file describes, with the weights of its base file."""

    def __init__(self, path):
        with np.load(path) as arrays:
            self.arrays = dict(arrays)
        state = self.arrays
        if "base_file" in self.arrays:
            with np.load(base_of(path, self.json("base_file"))) as arrays:
                state = dict(arrays)
        self.config = self.json("config")
        self.z1, self.z0 = nhwc(self.arrays["z1"]), nhwc(self.arrays["nll_z0"])
        self.t_end = float(self.arrays["ode_eps"])
        self.sde = published(make_sde(self.json("sde_config")))
        self.prior = ScorePrior(
            sde=self.sde,
            network=self._network(),
            weighting=LikelihoodWeighting(),
            time_sampler=Uniform(),
            sampler=ProbabilityFlow(),
            mixed=self.config["mixed_prediction"],
        )
        state = {k[3:]: v for k, v in state.items() if k.startswith("sd/")}
        init = functools.partial(self.prior.init, z_shape=self.z1.shape[1:])
        params, _ = jax.eval_shape(init, jax.random.key(0))
        self.mutables = {"prior": {"active": jnp.ones(self.z1.shape[-1])}}
        fir = self.config["fir"]
        tree = ncsnpp_names.read(state, params["prior"], fir=fir)
        self.params = {"prior": jax.tree.map(jnp.asarray, tree)}

    def json(self, key):
        return json.loads(str(self.arrays[key]))

    def _network(self):
        multipliers = self.config.get("channel_mult")
        if multipliers is None:
            multipliers = ncsnpp_names.channel_mult(self.config)
        piece = ncsnpp_names.network_piece(self.config, tuple(multipliers))
        if "attn_resolutions" in self.config:
            piece["attention_resolutions"] = tuple(self.config["attn_resolutions"])
        return configs.build(piece)

    def skip_unless(self, key):
        if key not in self.arrays:
            pytest.skip(f"the file has no {key}")

    def flow(self, tol):
        return ProbabilityFlow(rtol=tol, atol=tol, t_end=self.t_end)

    def chain(self, clip):
        """The published discrete chain: it takes every process for a
        variance-preserving one."""
        if not isinstance(self.sde, VariancePreservingSDE):
            pytest.skip("the published chain is not this process's")
        config = self.json("sde_config")
        steps = config["diffusion_steps"]
        variance = {"beta": "kernel", "beta_post": "posterior"}
        return Ancestral(
            num_steps=steps,
            t_end=1 / steps,
            variance=variance[config["denoising_stddevs"]],
            clip=clip,
        )

    @property
    def residual(self):
        return self.prior.residual_fn(self.params, self.mutables)


@functools.cache
def load(path):
    return Golden(path)


def solved(kind):
    """Test parameters (file, folder, tolerance) of all solutions of a kind."""
    cases = []
    for param in fixtures_with(*PRIOR, f"{kind}/*"):
        (path,) = param.values
        for name in sorted(keys_of(path) if path else ()):
            if found := re.fullmatch(rf"({kind}/tol([\d.e+-]+))/nfe", name):
                case = (path, found[1], float(found[2]))
                cases.append((f"{path.name}-{found[2]}", case))
    marked = parameters(cases, f"{kind}/tol")
    # The tighter, the longer.
    slow = [p for p in marked if p.values[0] and p.values[0][2] < 1e-3]
    return [
        pytest.param(*p.values, id=p.id, marks=pytest.mark.slow) if p in slow else p
        for p in marked
    ]


def limits(tol):
    """Of calls (a share), z0 and nats at a tolerance: geometric means between those
    that were measured."""
    place = np.clip(math.log10(1e-2 / tol) / 3, 0, 1)
    share = LOOSE[0] + place * (TIGHT[0] - LOOSE[0])
    rest = [a ** (1 - place) * b**place for a, b in zip(LOOSE, TIGHT, strict=True)]
    return share, *rest[1:]


def assert_calls(ours, theirs, tol):
    assert int(ours) % STEP == 2
    assert abs(int(ours) - theirs) <= max(STEP, limits(tol)[0] * theirs)


@pytest.mark.parametrize("case", solved("sample"))
def test_samples(case):
    path, folder, tol = case
    golden = load(path)
    u1 = golden.sde.prior_var**0.5 * float(golden.arrays["temp"]) * golden.z1

    def sample(u1):
        return golden.flow(tol)(jax.random.key(0), golden.sde, golden.residual, u1)

    done = jax.jit(sample, compiler_options=QUICK)(u1)
    assert_calls(done.nfe, golden.arrays[f"{folder}/nfe"], tol)
    stored = nhwc(golden.arrays[f"{folder}/z0"])
    np.testing.assert_allclose(done.u, stored, atol=limits(tol)[1])


@pytest.mark.parametrize("case", solved("nll"))
def test_log_likelihood(case):
    path, folder, tol = case
    golden = load(path)
    probes = nhwc(golden.arrays["nll_probe"])[:, None]

    def solve(z0, probes):
        flow = golden.flow(tol)
        return log_likelihood(flow, golden.sde, golden.residual, z0, probes)

    done = jax.jit(solve, compiler_options=QUICK)(golden.z0, probes)
    assert_calls(done.nfe, golden.arrays[f"{folder}/nfe"], tol)
    stored = golden.arrays[f"{folder}/nll"]
    np.testing.assert_allclose(-done.log_prob, stored, atol=limits(tol)[2], rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("path", fixtures_with(*PRIOR, "sd/*", "nll_probe")[:1])
def test_rounding_moves_the_sub_vp_likelihood(path):
    """Why the published forms are used above: SciPy's solver with its state in
    float64 and these forms gives our number with them, and not without."""
    golden, end, tol = load(path), 1e-6, 1e-2
    probe, shape = nhwc(golden.arrays["nll_probe"]), golden.z0.shape

    def prepare(sde):
        prior = dataclasses.replace(golden.prior, sde=sde)
        return velocity(sde, prior.residual_fn(golden.params, golden.mutables)), prior

    def solve(sde):
        _, prior = prepare(sde)
        residual = prior.residual_fn(golden.params, golden.mutables)
        flow = ProbabilityFlow(rtol=tol, atol=tol, t_end=end)
        run = functools.partial(log_likelihood, flow, sde, residual)
        return jax.jit(run, compiler_options=QUICK)(golden.z0, probe[:, None])

    field, _ = prepare(PublishedSubVPSDE())

    @functools.partial(jax.jit, compiler_options=QUICK)
    def slopes(u, t):
        t = jnp.full(shape[:1], t)
        v, change = jax.jvp(lambda u: field(u, t), (u,), (probe,))
        return v, jnp.sum(probe * change, (1, 2, 3))

    def joint(t, y):
        u = np.float32(y[: golden.z0.size].reshape(shape))
        return np.concatenate([np.float64(x).ravel() for x in slopes(u, np.float32(t))])

    start = np.append(np.float64(golden.z0).ravel(), np.zeros(len(golden.z0)))
    done = solve_ivp(joint, (end, 1.0), start, rtol=tol, atol=tol)
    u1, change = np.split(done.y[:, -1], [golden.z0.size])
    u1 = jnp.asarray(u1.reshape(shape), jnp.float32)
    expected = golden.sde.prior_log_prob(u1) + change
    rounded, exact = solve(PublishedSubVPSDE()), solve(SubVPSDE())
    assert int(rounded.nfe) == int(exact.nfe) == done.nfev
    np.testing.assert_allclose(rounded.log_prob, expected, atol=LOOSE[2], rtol=0)
    assert np.max(np.abs(exact.log_prob - expected)) > 2 * LOOSE[2]


@pytest.mark.parametrize("path", fixtures_with(*PRIOR, "disc/sample"))
def test_discrete_chain(path):
    golden = load(path)
    sampler = golden.chain(clip=3.0)
    rows = {
        k: jnp.asarray(v, jnp.float32) for k, v in sampler.table(golden.sde).items()
    }
    noise = nhwc(golden.arrays["disc/step_noise"])

    def call(u, xs):
        row, noise = xs
        residual = golden.residual(u, jnp.full(u.shape[:1], row["t"]))
        u, _ = sampler.advance(row, u, residual, ())
        return u + row["noise"] * noise, None

    run = jax.jit(lambda u: jax.lax.scan(call, u, (rows, noise))[0])
    expected = nhwc(golden.arrays["disc/sample"])
    limit = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(run(golden.z1), expected, atol=limit, rtol=0)


@pytest.mark.parametrize("path", fixtures_with(*PRIOR, "disc/nelbo"))
def test_bound_of_the_discrete_chain(path):
    """Divergences of its steps, what is left of the data, and of the prior.

    With a = alpha_t / alpha_s, b the kernel's variance and p_s the chain's, the
    posterior of u_s given u_t and z_0 is Normal with

        mean = (a var_s u_t + alpha_s b z_0) / var_t,  variance = b var_s / var_t.
    """
    golden = load(path)
    sampler, sde = golden.chain(clip=math.inf), golden.sde
    table = sampler.table(sde)
    at = marginals(sde, table["t"])
    var, dims = at.sigma**2, golden.z0[0].size
    noise = nhwc(golden.arrays["disc/step_noise"])

    def mean(row, alpha, sigma, noise):
        """u_t, and the chain's mean of u_s."""
        u = alpha * golden.z0 + sigma * noise
        residual = golden.residual(u, jnp.full(u.shape[:1], row["t"]))
        return u, sampler.advance(row, u, residual, ())[0]

    columns = (table, at.alpha, at.sigma, noise)
    columns = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), columns)
    run = jax.jit(lambda xs: jax.lax.map(lambda x: mean(*x), xs))
    states, means = (np.asarray(x, np.float64) for x in run(columns))

    z0, axes = np.asarray(golden.z0, np.float64), (1, 2, 3)
    ratio = at.alpha[:-1] / at.alpha[1:]
    kernel = var[:-1] - ratio**2 * var[1:]
    posterior = kernel * var[1:] / var[:-1]
    chain = table["noise"][:-1] ** 2
    total = 0.0
    for k in range(len(var) - 1):
        u = ratio[k] * var[k + 1] * states[k] + at.alpha[k + 1] * kernel[k] * z0
        away = np.sum((means[k] - u / var[k]) ** 2, axes) / chain[k]
        spread = posterior[k] / chain[k]
        total += 0.5 * (away + dims * (spread - 1 - np.log(spread)))
    # Of the last step the published chain copies the posterior's variance.
    last = var[-1] if sampler.variance == "kernel" else posterior[-1]
    away = np.sum((means[-1] - z0) ** 2, axes) / last
    data = 0.5 * (away + dims * np.log(2 * math.pi * last))
    prior = np.asarray(sde.prior_kl(golden.z0), np.float64).sum(axes)
    # The published sum is float32: so many digits of its parts, which cancel.
    size = 1e-5 * (np.abs(total) + np.abs(data))
    assert np.all(np.abs(total + data + prior - golden.arrays["disc/nelbo"]) <= size)

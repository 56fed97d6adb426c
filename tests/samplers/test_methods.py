"""What single fixed-grid methods claim beyond the laws that all of them obey."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from lsgm.config import ConfigError, build
from lsgm.samplers.ancestral import Ancestral
from lsgm.samplers.ddim import DDIM
from lsgm.samplers.deis import DEIS
from lsgm.samplers.euler_maruyama import EulerMaruyama
from lsgm.samplers.grids import LogSNR, marginals
from lsgm.samplers.normal_residual import NormalResidual
from lsgm.samplers.predictor_corrector import PredictorCorrector
from lsgm.samplers.reverse_diffusion import ReverseDiffusion
from lsgm.samplers.unipc import UniPC
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.power import PowerVPSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vpsde import VPSDE
from tests import tiny
from tests.samplers.exact import Gaussian, Mixture, variances

VP = VPSDE()
PRESERVING = [VP, GeometricVPSDE(), PowerVPSDE()]
VARIANCES = (0.4, 1.7)
KEY = 5


def states(shape):
    return jax.random.normal(jax.random.key(1), shape, jnp.float32)


@pytest.mark.parametrize("sde", PRESERVING, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_normal_residual_leaves_normal_data_alone(sde, order):
    sampler = NormalResidual(num_steps=3, order=order)
    u1 = states((3, 2))
    done = sampler(jax.random.key(KEY), sde, lambda u, t: 0 * u, u1)
    np.testing.assert_array_equal(done.u, u1)


@pytest.mark.parametrize("sde", PRESERVING, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_normal_residual_integrates_artanh_sigma(sde, order):
    """A constant residual moves the state by the whole change of artanh(sigma)."""
    sampler = NormalResidual(num_steps=5, order=order, t_end=1e-2)
    total = sampler.table(sde)["weights"].sum()
    ends = np.arctanh(marginals(sde, np.array([1.0, 1e-2])).sigma)
    assert total == pytest.approx(ends[1] - ends[0], rel=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_normal_residual_is_exact_for_polynomials_in_the_angle(order):
    """Of a degree below the order, once as many residuals are stored."""
    table = NormalResidual(num_steps=6, order=order, t_end=1e-2).table(VP)
    sigma = marginals(VP, np.append(table["t"], 1e-2)).sigma
    s, powers = np.arctanh(sigma), np.arcsin(sigma)[:, None] ** np.arange(order)
    for k in range(order - 1, 6):
        stored = powers[k + 1 - order : k + 1][::-1]
        exact = [
            quad(lambda x, p=p: np.arcsin(np.tanh(x)) ** p, s[k], s[k + 1])[0]
            for p in range(order)
        ]
        np.testing.assert_allclose(table["weights"][k] @ stored, exact, rtol=1e-6)


@pytest.mark.parametrize(
    ("mean", "t_start", "low", "high"),
    [(0.5, 1.0, 0.4, 1.5), (0.0, 1.0, 1.9, 2.2), (0.5, 0.6, 1.9, 2.2)],
    ids=["with a mean", "centred", "from below 1"],
)
def test_order_of_the_normal_residual_on_a_mixture(x64, mean, t_start, low, high):
    """Two, but for the step from t = 1 on data with a mean: what docs/samplers.md
    says. Differences of runs with 20, 40 and 80 steps."""
    centres = np.array([[-1.0, 0.6], [1.0, -0.6]]) + mean
    residual, u1 = Mixture(VP, centres, 0.1).residual, jnp.array([[0.3, -1.2]])
    ends = []
    for num_steps in (20, 40, 80):
        sampler = NormalResidual(num_steps=num_steps, t_start=t_start, t_end=1e-3)
        ends.append(sampler(jax.random.key(KEY), VP, residual, u1).u)
    errors = [jnp.linalg.norm(a - b) for a, b in itertools.pairwise(ends)]
    assert low < float(jnp.log2(errors[0] / errors[1])) < high


NEEDS = "NormalResidual needs a VariancePreservingSDE, not SubVPSDE"


def test_normal_residual_needs_a_variance_preserving_process():
    u1 = jnp.ones((1, 2))
    with pytest.raises(ValueError, match=NEEDS):
        NormalResidual()(jax.random.key(0), SubVPSDE(), lambda u, t: u, u1)


def test_a_config_with_the_wrong_process_is_refused_by_name():
    """When the prior is built, before anything is compiled."""
    spec = tiny.score_prior(
        sde={"target": "lsgm.sdes.subvpsde:SubVPSDE"},
        sampler={"target": "lsgm.samplers.normal_residual:NormalResidual"},
    )
    with pytest.raises(ConfigError, match=NEEDS):
        build(spec, "stages.lsgm.prior")


def test_order_1_methods_are_ddim():
    grid = LogSNR()
    ddim = DDIM(num_steps=6, grid=grid).table(VP)
    deis = DEIS(num_steps=6, grid=grid, order=1).table(VP)
    for column in ("t", "keep", "anchor", "scale", "weights"):
        np.testing.assert_allclose(deis[column], ddim[column], rtol=1e-9)


def plain_unipc(at, predict, u):
    """UniPC-2 as its paper steps it: predict, call, correct; alpha, sigma by time."""
    lam = np.log(at.alpha / at.sigma)
    x, before = predict(u, 0), None
    for k in range(len(lam) - 1):
        h, last = lam[k + 1] - lam[k], k == len(lam) - 2
        gain = -at.alpha[k + 1] * np.expm1(-h)
        base = at.sigma[k + 1] / at.sigma[k] * u + gain * x
        r = 1.0 if before is None else (lam[k - 1] - lam[k]) / h
        d = 0.0 if before is None else (before - x) / r
        if last:
            return base
        now = predict(base + gain * 0.5 * d, k + 1)
        c = np.array([0.0, 0.5])
        if before is not None:
            # phi_2 and phi_3 of the exponential integrator, by their integrals.
            b = np.expm1(-h)
            phi = [
                quad(lambda s, n=n, h=h: np.exp(-h * (1 - s)) * s**n, 0, 1)[0]
                for n in (1, 2)
            ]
            rhs = np.array([-h * phi[0] / b, -h * phi[1] / b])
            c = np.linalg.solve(np.array([[1.0, 1.0], [r, 1.0]]), rhs)
        u, before, x = base + gain * (c[0] * d + c[1] * (now - x)), x, now


def test_unipc_is_its_plain_loop(x64):
    """The one-call table against predictor and corrector written out."""
    sampler = UniPC(num_steps=5, t_end=1e-2)
    times = np.append(sampler.table(VP)["t"], 1e-2)
    at, data = marginals(VP, times), Gaussian(VP, (0.4,))

    def predict(u, k):
        t, state = jnp.array([times[k]]), jnp.array([[u]])
        eps_hat = data.residual(state, t) + VP.normal_eps(state, t)
        return (u - at.sigma[k] * float(eps_hat[0, 0])) / at.alpha[k]

    u = sampler(jax.random.key(KEY), VP, data.residual, jnp.array([[1.3]])).u
    assert float(u[0, 0]) == pytest.approx(plain_unipc(at, predict, 1.3), rel=1e-9)


@pytest.mark.parametrize("sde", [*PRESERVING, SubVPSDE()], ids=lambda s: str(s)[:5])
def test_reverse_diffusion_is_ancestral_to_first_order(sde):
    """Gains (2 - a and 1 / a, the score's too) differ by (1 - a)^2; so does noise."""
    settings = {"t_end": 0.01, "t_start": 0.5}
    differences = []
    for num_steps in (100, 200):
        ours = ReverseDiffusion(num_steps=num_steps, **settings).table(sde)
        theirs = Ancestral(num_steps=num_steps + 1, **settings).table(sde)
        np.testing.assert_array_equal(ours["noise"], theirs["noise"][:-1])
        keep = ours["keep"] - theirs["keep"][:-1]
        assert np.all(keep < 0)
        differences.append(np.abs(keep).max())
    assert differences[0] / differences[1] == pytest.approx(4, rel=0.05)


def test_posterior_variance_is_the_smaller():
    """And is the exact variance of data that are one point, at any steps."""
    kernel = Ancestral(num_steps=10, t_end=0.05)
    posterior = dataclasses.replace(kernel, variance="posterior")
    both = [sampler.table(VP)["noise"] for sampler in (kernel, posterior)]
    assert np.all(both[1][:-1] < both[0][:-1]) and both[0][-1] == both[1][-1] == 0
    var = start = 1.0
    table, at = posterior.table(VP), marginals(VP, posterior.table(VP)["t"])
    for k in range(9):
        gain = table["keep"][k] + table["weights"][k, 0] / at.sigma[k]
        var = gain**2 * var + table["noise"][k] ** 2
        start *= gain**2
    # u_1 has variance 1, not var(1): what is too much shrinks with the gains.
    excess = (1 - at.sigma[0] ** 2) * start
    assert var - excess == pytest.approx(at.sigma[9] ** 2, rel=1e-9)


@pytest.mark.parametrize("variance", ["kernel", "posterior"])
def test_ancestral_clips_the_data_alone(variance):
    sampler = Ancestral(num_steps=4, t_end=0.2, variance=variance, clip=0.5)
    data, u1 = Gaussian(VP, VARIANCES), 2 * states((50, 2))
    done = sampler(jax.random.key(KEY), VP, data.residual, u1, num_path=5)
    assert float(jnp.max(jnp.abs(done.u))) == 0.5
    assert float(jnp.max(jnp.abs(done.path[-2]))) > 1


def test_correctors_pull_a_wrong_start_to_the_marginal():
    """Twice the variance at t_start is forgotten faster the more corrections."""
    settings = {"num_steps": 20, "t_start": 0.1, "t_end": 1e-2}
    samplers = [
        EulerMaruyama(**settings),
        PredictorCorrector(**settings),
        PredictorCorrector(**settings, num_corrections=4),
    ]
    errors = [
        abs(variances(s, VP, 0.4, start=2.0) - variances(s, VP, 0.4)) for s in samplers
    ]
    assert errors[0] > errors[1] > errors[2]


def test_predictors_are_the_samplers_of_their_names():
    settings = {"num_steps": 6, "t_end": 0.01}
    for predictor, sampler in (
        ("euler_maruyama", EulerMaruyama),
        ("reverse_diffusion", ReverseDiffusion),
    ):
        both = PredictorCorrector(predictor=predictor, **settings).table(VP)
        alone = sampler(**settings).table(VP)
        for column in alone:
            np.testing.assert_array_equal(both[column][::2], alone[column])


@pytest.mark.parametrize("snr", [0.16, 0.02])
def test_a_correction_keeps_the_marginal_up_to_its_square(snr):
    """A Langevin step a = 2 snr^2 var takes a variance V to V + a^2 / V: its noise
    makes up for its drift."""
    table = PredictorCorrector(num_steps=5, t_end=1e-2, snr=snr).table(VP)
    at = marginals(VP, table["t"][1::2])
    rows = {name: column[1::2] for name, column in table.items()}
    variance = at.alpha**2 * 0.4 + at.sigma**2
    gain = 1 + rows["weights"][:, 0] * at.sigma / variance
    step = 2 * snr**2 * at.sigma**2
    np.testing.assert_allclose(
        gain**2 * variance + rows["noise"] ** 2, variance + step**2 / variance
    )


@pytest.mark.parametrize(
    ("field", "value"), [("num_corrections", 0), ("snr", 0.0), ("predictor", "none")]
)
def test_predictor_corrector_names_bad_settings(field, value):
    with pytest.raises(ValueError, match=field):
        PredictorCorrector(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("variance", "beta"), ("clip", 0.0), ("num_steps", 1), ("denoise", "mean")],
)
def test_ancestral_names_bad_settings(field, value):
    with pytest.raises(ValueError, match=field):
        Ancestral(**{field: value})


@pytest.mark.parametrize("method", [DEIS, NormalResidual])
def test_multistep_orders_are_1_to_3(method):
    with pytest.raises(ValueError, match="order must be 1, 2 or 3, not 4"):
        method(order=4)

"""Densities of time r(t): that they are densities, the right ones, and unbiased."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.numerics import example_keys
from lsgm.objectives.time_sampling import Importance, Uniform
from lsgm.objectives.weighting import (
    LikelihoodWeighting,
    Rescaled,
    Reweighted,
    Unweighted,
)
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.power import PowerVPSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE
from tests.sdes.catalog import SCALAR

SAMPLERS = [
    Uniform(),
    Importance(weighting=LikelihoodWeighting()),
    Importance(weighting=Reweighted()),
    Importance(weighting=Unweighted()),
    Importance(weighting=Rescaled()),
]


def name(sampler):
    """For a test's id."""
    proposal = getattr(sampler, "weighting", sampler)
    return type(proposal).__name__


PAIRS = [
    pytest.param(sde, sampler, id=f"{name(sampler)}-{sde}")
    for sde in SCALAR
    for sampler in SAMPLERS
    if not (sde.prior_var > 1 and sampler == Importance(weighting=Rescaled()))
]
# Dense at both ends, where times crowd.
_EDGE = np.geomspace(1e-9, 1e-2, 2000)
RHO = np.union1d(np.linspace(0, 1, 8001), np.union1d(_EDGE, 1 - _EDGE))

each_pair = pytest.mark.parametrize(("sde", "sampler"), PAIRS)


@each_pair
def test_density_is_that_of_the_times(x64, sde, sampler):
    """The integral of r up to t(rho) is rho: r is a density, and the times'."""
    t, density = (np.asarray(x) for x in sampler.times(sde, jnp.asarray(RHO)))
    cells = 0.5 * (density[1:] + density[:-1]) * np.diff(t)
    assert np.all(np.diff(t) > -1e-15)
    np.testing.assert_allclose(t[[0, -1]], [sampler.t_min, 1], rtol=1e-9)
    np.testing.assert_allclose(np.cumsum(cells), RHO[1:], atol=1e-5)


TESTS = {
    "one": jnp.ones_like,
    "cosine": lambda t: jnp.cos(3 * t),
    "decay": lambda t: jnp.exp(-4 * t),
    "square": jnp.square,
}


@each_pair
def test_estimates_are_unbiased(x64, sde, sampler):
    """E_rho[w / r h] is the integral of w h, whatever the proposal."""
    t, density = sampler.times(sde, jnp.asarray(RHO))
    grid = jnp.asarray(np.union1d(np.linspace(0.01, 1, 20001), 1 - _EDGE))
    for weighting, (label, h) in itertools.product(
        [LikelihoodWeighting(), Unweighted()], TESTS.items()
    ):
        mean = np.trapezoid(weighting(sde, t) / density * h(t), RHO)
        target = weighting(sde, grid) * h(grid)
        scale = np.trapezoid(np.abs(target), grid)
        expected = np.trapezoid(target, grid)
        assert mean == pytest.approx(expected, abs=2e-4 * scale), label


def vp_weights(kind, sde, t, t_min):
    """LSGM's corrected (p, q) weights for the variance-preserving processes."""
    v, (v_min, v_1) = sde.var(t), sde.var(jnp.array([t_min, 1.0]))
    if kind == "ll":
        p = 0.5 * np.log(v_1 / v_min) / (1 - v)
        return p, p
    if kind == "reweighted":
        p = 0.5 * (v_1 - v_min) / (1 - v)
        return p, p / v
    z = normaliser(sde, t_min)
    return z / (1 - v), z / (1 - v) * sde.beta(t) / (2 * v)


def normaliser(sde, t_min):
    """Integral of 1 - var over [t_min, 1]."""
    grid = jnp.linspace(t_min, 1, 200001)
    return np.trapezoid(1 - sde.var(grid), grid)


def sub_vp_weights(kind, sde, t, t_min):
    """As drawn from the companion's densities, corrected."""
    companion = VPSDE(var_0=sde.var_0, beta_0=sde.beta_0, beta_1=sde.beta_1)
    s, (s_min, s_1) = companion.var(t), companion.var(jnp.array([t_min, 1.0]))
    g2, v, beta = sde.g2(t), sde.var(t), sde.beta(t)
    if kind == "ll":
        p = g2 / (2 * v) * np.log(s_1 / s_min) * s / ((1 - s) * beta)
        return p, p
    if kind == "reweighted":
        p = 0.5 * g2 / beta * (s_1 - s_min) / (1 - s)
        return p, p / v
    z = normaliser(companion, t_min)
    return z / (1 - s), z / (1 - s) * g2 / (2 * v)


def ve_weights(kind, sde, t, t_min):
    """With N the marginal variance of Normal data."""
    v, (v_low, v_1) = sde.var(t), sde.var(jnp.array([t_min, 1.0]))
    n, n_low, n_1 = (x + 1 - sde.var_min for x in (v, v_low, v_1))
    total = np.log(sde.var_max / n_1) + np.log(n_low / v_low)
    if kind == "reweighted":
        p = 0.5 * np.log(n_1 / n_low) * n
        return p, p / v
    q = 0.5 * total * n / (1 - sde.var_min)
    return q if kind == "ll" else 2 * q / np.log(sde.var_max / sde.var_min), q


FORMS = {VPSDE: vp_weights, GeometricVPSDE: vp_weights, PowerVPSDE: vp_weights}
FORMS |= {SubVPSDE: sub_vp_weights, VESDE: ve_weights}
KINDS = {
    "ll": LikelihoodWeighting(),
    "reweighted": Reweighted(),
    "unweighted": Unweighted(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sde", [s for s in SCALAR if type(s) in FORMS], ids=str)
@pytest.mark.parametrize("t_min", [1e-2, 1e-4])
def test_published_weights_are_quotients_of_ours(x64, sde, kind, t_min):
    """w / r of the proposal's own weight, and of the likelihood on its times."""
    sampler = Importance(weighting=KINDS[kind], t_min=t_min)
    t, density = sampler.times(sde, jnp.asarray(np.linspace(0, 0.99, 34)))
    p, q = FORMS[type(sde)](kind, sde, t, t_min)
    np.testing.assert_allclose(KINDS[kind](sde, t) / density, p, rtol=1e-7)
    np.testing.assert_allclose(LikelihoodWeighting()(sde, t) / density, q, rtol=1e-7)


PUBLISHED = [
    # weighting, rho, t, p-weight, q-weight of VPSDE from t_min = 0.01
    (LikelihoodWeighting(), 0.25, 0.02624376, 3.138638, 3.138638),
    (LikelihoodWeighting(), 0.5, 0.06290966, 3.254312, 3.254312),
    (LikelihoodWeighting(), 0.75, 0.14950390, 3.941883, 3.941883),
    (Reweighted(), 0.25, 0.16567073, 0.666628, 2.650778),
    (Reweighted(), 0.5, 0.25933153, 0.999913, 1.995935),
    (Reweighted(), 0.75, 0.36852377, 1.999654, 2.664550),
    (Unweighted(), 0.25, 0.07835642, 0.284985, 3.549877),
    (Unweighted(), 0.5, 0.15573597, 0.343920, 2.428240),
    (Unweighted(), 0.75, 0.26025798, 0.535656, 2.808669),
]


@pytest.mark.parametrize(("weighting", "rho", "t", "p", "q"), PUBLISHED, ids=str)
def test_pins_of_the_linear_process(weighting, rho, t, p, q):
    sde = VPSDE()
    actual, density = Importance(weighting=weighting).times(sde, jnp.array([rho]))
    np.testing.assert_allclose(actual, t, rtol=1e-6)
    np.testing.assert_allclose(weighting(sde, actual) / density, p, rtol=2e-6)
    np.testing.assert_allclose(
        LikelihoodWeighting()(sde, actual) / density, q, rtol=2e-6
    )


def test_pin_of_the_geometric_process():
    sde = GeometricVPSDE()
    sampler = Importance(weighting=Reweighted(), t_min=0.0)
    t, density = sampler.times(sde, jnp.array([0.5]))
    np.testing.assert_allclose(t, 0.93343932, rtol=1e-6)
    np.testing.assert_allclose(Reweighted()(sde, t) / density, 0.998002, rtol=3e-6)
    np.testing.assert_allclose(
        LikelihoodWeighting()(sde, t) / density, 1.997942, rtol=3e-6
    )


def test_published_deviations_on_request():
    """The missing interval length, and the normaliser of the erf proposal."""
    sde, rho = VPSDE(), jnp.array([0.2, 0.7])
    for sampler, factor in [(Uniform, 1 / 0.99), (Importance, 1.002264)]:
        fields = {} if sampler is Uniform else {"weighting": Unweighted()}
        t, exact = sampler(**fields).times(sde, rho)
        same, published = sampler(**fields, reference_compatible=True).times(sde, rho)
        np.testing.assert_array_equal(t, same)
        np.testing.assert_allclose(exact / published, factor, rtol=1e-6)
    for weighting in (LikelihoodWeighting(), Reweighted()):
        exact = Importance(weighting=weighting)
        published = Importance(weighting=weighting, reference_compatible=True)
        np.testing.assert_array_equal(exact.times(sde, rho), published.times(sde, rho))


# Relative standard deviation over t, for Normal data, of the likelihood objective:
# zero where the proposal is its own.
SPREADS = [
    (VPSDE(), Uniform(), 2.41),
    (VPSDE(), Uniform(t_min=1e-5), 23.03),
    (VPSDE(), Importance(weighting=LikelihoodWeighting()), 0.0),
    (VPSDE(), Importance(weighting=Unweighted()), 0.96),
    (VPSDE(), Importance(weighting=Reweighted()), 3.45),
    (GeometricVPSDE(), Uniform(t_min=0.0), 0.0),
    (GeometricVPSDE(), Importance(weighting=Reweighted(), t_min=0.0), 17.5),
]


@pytest.mark.parametrize(("sde", "sampler", "spread"), SPREADS, ids=str)
def test_spread_of_the_likelihood_objective(x64, sde, sampler, spread):
    t, density = sampler.times(sde, jnp.asarray(RHO))
    terms = LikelihoodWeighting()(sde, t) * sde.normal_error(t) / density
    mean = np.trapezoid(terms, RHO)
    variance = np.trapezoid((terms - mean) ** 2, RHO)
    np.testing.assert_allclose(np.sqrt(variance) / mean, spread, rtol=5e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("sde", "sampler"), [p for p in PAIRS if isinstance(p.values[1], Importance)]
)
def test_own_objective_has_no_spread(x64, sde, sampler):
    """Eq. (2): w e / r is constant for the process that proposes."""
    sde = sde.proposal
    t, density = sampler.times(sde, jnp.asarray(np.linspace(0, 1, 41)))
    terms = sampler.weighting(sde, t) * sde.normal_error(t) / density
    np.testing.assert_allclose(terms, terms[0], rtol=1e-12)


@each_pair
@pytest.mark.parametrize("t_min", [1e-2, 1e-5])
def test_float32_times_and_weights(sde, sampler, t_min):
    """Times to a rounding of rho; weights exact for the times returned."""
    sampler = dataclasses.replace(sampler, t_min=t_min)
    rho = np.linspace(0, 1, 129, dtype=np.float32)
    t, density = (np.asarray(x) for x in sampler.times(sde, jnp.asarray(rho)))
    assert np.all((t >= np.float32(t_min)) & (t <= 1) & (density > 0))
    with jax.enable_x64(True):
        exact_t, exact = sampler.times(sde, jnp.asarray(rho, jnp.float64))
        normaliser = shape(sampler, sde, exact_t) / exact
        here = shape(sampler, sde, jnp.asarray(t, jnp.float64)) / normaliser
        exact_t = np.asarray(exact_t)
    np.testing.assert_allclose(density, here, rtol=5e-5)
    assert np.all(np.abs(t - exact_t) <= 5e-7 * (1 / density + t))


def shape(sampler, sde, t):
    """The density up to its normaliser, Eq. (2)."""
    if isinstance(sampler, Uniform):
        return jnp.ones_like(t)
    return sampler.weighting(sde.proposal, t) * sde.proposal.normal_error(t)


def draws(sampler, seed, num, indices=None, batch_size=None):
    """rho for a batch, or for these examples of it."""
    key, example_key = jax.random.split(jax.random.key(seed))
    indices = jnp.arange(num) if indices is None else indices
    keys = example_keys(example_key, indices)
    return np.asarray(sampler.rho(key, keys, indices, batch_size or num))


STRATIFIED = Uniform(stratified=True)


@pytest.mark.parametrize("sampler", [Uniform(), STRATIFIED], ids=["iid", "stratified"])
def test_rho_is_a_function_of_the_place_in_the_global_batch(sampler):
    """Two devices with half a batch each draw what one draws with the whole."""
    whole = draws(sampler, 0, 8)
    halves = [draws(sampler, 0, 4, i + jnp.arange(4), 8) for i in (0, 4)]
    np.testing.assert_array_equal(np.concatenate(halves), whole)
    assert np.all((whole >= 0) & (whole < 1))


def test_stratified_draws_fill_every_stratum_once():
    for seed in range(5):
        rho = draws(STRATIFIED, seed, 12)
        assert sorted(np.floor(rho * 12)) == list(range(12))
        np.testing.assert_allclose(np.ptp(np.mod(rho * 12, 1)), 0, atol=1e-5)


@pytest.mark.parametrize("sampler", [Uniform(), STRATIFIED], ids=["iid", "stratified"])
def test_each_example_is_uniform(sampler):
    """Kolmogorov's distance of 400 draws of one example, at level 1e-5."""
    one = jax.jit(
        jax.vmap(
            lambda key: sampler.rho(
                jax.random.fold_in(key, 0),
                jax.random.fold_in(key, 1)[None],
                jnp.array([5]),
                8,
            )[0]
        )
    )
    rho = np.sort(one(jax.random.split(jax.random.key(7), 400)))
    distance = np.max(np.abs(rho - (np.arange(400) + 0.5) / 400))
    assert distance < 2.5 / np.sqrt(400)


def test_stratified_means_are_the_same_with_less_variance():
    """Of t^2, over 64 batches of 16: unbiased, and by far less scattered."""
    means = {}
    for sampler in (Uniform(), STRATIFIED):
        batches = [draws(sampler, seed, 16) for seed in range(64)]
        t = [np.asarray(sampler.times(VPSDE(), jnp.asarray(r))[0]) for r in batches]
        means[sampler] = np.mean(np.square(t), axis=1)
    exact = (1 - 0.01**3) / (3 * 0.99)
    for sampler, values in means.items():
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values) - exact) < 5 * error + 1e-6, sampler
    assert np.std(means[STRATIFIED]) < 0.3 * np.std(means[Uniform()])


def test_times_are_the_same_inside_and_outside_a_trace():
    """Constants come from float64 on the host, not from the traced program."""
    rho = jnp.linspace(0, 0.9, 10)
    for sampler in SAMPLERS:
        jitted = jax.jit(lambda x, sampler=sampler: sampler.times(PowerVPSDE(), x))
        for traced, eager in zip(
            jitted(rho), sampler.times(PowerVPSDE(), rho), strict=True
        ):
            np.testing.assert_allclose(traced, eager, rtol=2e-6)


def test_what_is_no_density_is_refused():
    sampler = Importance(weighting=Rescaled())
    with pytest.raises(ValueError, match="not a density"):
        sampler.times(VESDE(var_max=50.0), jnp.array([0.5]))
    with pytest.raises(ValueError, match="t_min must lie in"):
        Uniform(t_min=1.0)
    with pytest.raises(ValueError, match="t_min must lie in"):
        Importance(weighting=LikelihoodWeighting(), t_min=-0.1)

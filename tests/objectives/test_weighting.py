"""Weights w(t), their integrals in closed form, and the bound they make."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.objectives.weighting import (
    LikelihoodWeighting,
    Rescaled,
    Reweighted,
    Unweighted,
)
from lsgm.sdes.base import LOG_2PI
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.scalar import ScalarSDE, VariancePreservingSDE
from lsgm.sdes.vpsde import VPSDE
from tests.sdes.catalog import ALL, SCALAR

WEIGHTINGS = [LikelihoodWeighting(), Reweighted(), Unweighted(), Rescaled()]
TIMES = np.array([1e-3, 0.03, 0.2, 0.5, 0.85, 1.0])

every_sde = pytest.mark.parametrize("sde", ALL, ids=str)
CLOSED = [
    pytest.param(sde, weighting, id=f"{weighting}-{sde}")
    for sde in ALL
    for weighting in WEIGHTINGS
    if weighting.integral(sde) is not None
]


@every_sde
def test_weights_of_the_score_error(x64, sde):
    """LikelihoodWeighting is g^2 / 2 in front of the score's error, Reweighted in
    front of the noise's: they differ by score_scale^2."""
    t = jnp.asarray(TIMES)
    eps, eps_hat = jnp.ones((t.size, 3)), jnp.full((t.size, 3), 0.4)
    noise_error = (eps - eps_hat)[:, 0] ** 2
    score_error = (sde.score(eps, t) - sde.score(eps_hat, t))[:, 0] ** 2
    np.testing.assert_allclose(
        LikelihoodWeighting()(sde, t) * noise_error,
        0.5 * sde.g2(t) * score_error,
        rtol=1e-12,
    )
    np.testing.assert_allclose(Reweighted()(sde, t), 0.5 * sde.g2(t), rtol=1e-12)
    np.testing.assert_array_equal(Unweighted()(sde, t), 1)


@pytest.mark.parametrize(
    "sde", [s for s in SCALAR if isinstance(s, VariancePreservingSDE)], ids=str
)
def test_rescaled_makes_the_normal_error_constant(x64, sde):
    t = jnp.asarray(TIMES)
    error = Rescaled()(sde, t) * sde.normal_error(t)
    np.testing.assert_allclose(error, 0.5, rtol=1e-12)


def test_published_likelihood_weights_of_the_geometric_process():
    w = LikelihoodWeighting()(GeometricVPSDE(), jnp.array([0.25, 0.5, 0.75]))
    np.testing.assert_allclose(w, [5.208767, 5.235317, 5.622452], rtol=2e-7 * 5)


@pytest.mark.parametrize(("sde", "weighting"), CLOSED)
def test_integrals_differentiate_to_weight_times_normal_error(x64, sde, weighting):
    integral = weighting.integral(sde)
    t = jnp.asarray(TIMES)
    slope = jax.jvp(integral.value, (t,), (jnp.ones_like(t),))[1]
    expected = weighting(sde, t) * sde.normal_error(t)
    np.testing.assert_allclose(slope, expected, rtol=1e-9)
    np.testing.assert_allclose(integral.inverse(integral.value(t)), t, rtol=1e-7)


@pytest.mark.parametrize(("sde", "weighting"), CLOSED)
def test_float32_integrals_invert(sde, weighting):
    """Times come back to a rounding of the integral or of var, at most 1 here."""
    integral = weighting.integral(sde)
    t = jnp.asarray(TIMES, jnp.float32)
    value = integral.value(t)
    rate = weighting(sde, t) * sde.normal_error(t)
    error = np.abs(integral.inverse(value) - t)
    assert np.all(error <= 3e-7 * ((np.abs(value) + 1) / rate + t))


def test_every_process_offers_its_published_closed_forms():
    """LSGM has the three of them for the linear and the exploding process."""
    for sde in SCALAR:
        closed = [w for w in WEIGHTINGS if w.integral(sde.proposal) is not None]
        assert closed[:2] == [LikelihoodWeighting(), Reweighted()]
    assert VPSDE().unweighted_integral() is not None
    # float32 cannot hold the erf of a rate that hardly grows.
    assert VPSDE(beta_0=1.0, beta_1=1.1).unweighted_integral() is None
    assert VPSDE(beta_0=1.0, beta_1=1.0).unweighted_integral() is None


def test_published_normaliser_of_the_unweighted_proposal(x64):
    """LSGM's code has exp(p / 2) for exp(beta_0 p / 2): 0.23 % too much."""
    integral = VPSDE().unweighted_integral()
    low, high = integral.value(jnp.array([0.01, 1.0]))
    assert float(high - low) == pytest.approx(0.26600370, rel=3e-8)
    assert integral.published_scale == pytest.approx(1.002264, abs=5e-7)
    published = float(high - low) * integral.published_scale
    assert published == pytest.approx(0.26660590, rel=3e-8)


@pytest.mark.parametrize("sde", SCALAR, ids=str)
def test_the_bound_of_normal_data_is_entropy_minus_information(x64, sde):
    """LSGM Theorem 1 with the exact predictor: H(u_tmin) - I(u_0; u_1)."""
    t_min = 0.02
    places, weights = np.polynomial.legendre.leggauss(12)
    edges = np.linspace(t_min, 1, 200)
    width = np.diff(edges)
    t = edges[:-1, None] + 0.5 * (places + 1) * width[:, None]
    flat = jnp.asarray(t.ravel())
    values = LikelihoodWeighting()(sde, flat) * sde.normal_error(flat)
    integral = np.sum(0.5 * width[:, None] * weights * np.reshape(values, t.shape))
    ends = jnp.array([t_min, 1.0])
    entropy = 0.5 * (1 + LOG_2PI + np.log(sde.normal_var(ends)[0]))
    information = 0.5 * np.log(sde.normal_var(ends)[1] / sde.var(ends)[1])
    bound = sde.bound_constant(t_min) + integral
    np.testing.assert_allclose(bound, entropy - information, rtol=1e-9)


def preserving(sde):
    """Whether 1 - var, which Rescaled divides by, is there and positive."""
    return isinstance(sde, ScalarSDE) and sde.prior_var <= 1


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=str)
@every_sde
def test_float32_weights_keep_their_digits(sde, weighting):
    t = np.concatenate([np.geomspace(1e-6, 0.1, 10), np.linspace(0.12, 1, 12)])
    t = t.astype(np.float32)
    if weighting == Rescaled() and not preserving(sde):
        pytest.skip("1 - var changes sign, or there is none")
    low = np.asarray(weighting(sde, jnp.asarray(t)))
    with jax.enable_x64(True):
        high = np.asarray(weighting(sde, jnp.asarray(t, jnp.float64)))
    np.testing.assert_allclose(low, high, rtol=3e-5)

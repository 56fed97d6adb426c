"""What CLD is, beyond the laws: golden kernel values, its bound, its small times."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.objectives.time_sampling import Importance, Proportional
from lsgm.objectives.weighting import (
    LikelihoodWeighting,
    Rescaled,
    Reweighted,
    Unweighted,
)
from lsgm.sdes.cld import CLD

SDE = CLD()
# t, mean of x and v for z_0 = 1, covariance xx, xv, vv, l, nu: 50-digit arithmetic.
PINS = [
    (1e-5, 0.999999997, -3.99968001e-5, 2.56641628e-10, 1.60601502e-6, 0.0100767876)
    + (193.717454, 6.78683804e-13),
    (1e-3, 0.999968170, -3.96812766e-3, 3.19389280e-6, 2.19184837e-4, 0.0175576299)
    + (19.9370986, 4.57630700e-7),
    (0.01, 0.996965654, -0.0369246539, 8.23913110e-4, 6.70807591e-3, 0.0755354892)
    + (6.91381025, 2.28076765e-4),
    (0.1, 0.808792135, -0.179731586, 0.221810061, 0.129859840, 0.215758351)
    + (2.67518145, 0.166582530),
    (0.5, 0.0915781944, -0.0366312778, 0.986460728, 5.28689102e-3, 0.247933550)
    + (2.00843217, 71.1214930),
    (1.0, 3.01916365e-3, -1.34185051e-3, 0.999983970, 7.07621179e-6, 0.249996876)
    + (2.00001250, 61281.7727),
]


def covariance(sde, t):
    """[2 2] of one time [1], from the kernel's root."""
    root = sde.scale_noise(jnp.eye(2), jnp.broadcast_to(t, (2,)))
    return root.T @ root


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: f"t={pin[0]}")
def test_pins_in_float32(pin):
    time, of_x, of_v, xx, xv, vv, scale, nu = pin
    t = jnp.array([time])
    mean = SDE.mean(jnp.ones((1, 1)), t)[0]
    np.testing.assert_allclose(mean, [of_x, of_v], rtol=1e-6)
    found = covariance(SDE, t)
    np.testing.assert_allclose(found, [[xx, xv], [xv, vv]], rtol=1e-6)
    np.testing.assert_allclose(SDE.score_scale(t), scale, rtol=1e-6)
    np.testing.assert_allclose(SDE.data_noise(t), nu, rtol=1e-6)


def test_rates():
    sde = dataclasses.replace(SDE, beta_0=0.1, beta_1=7.0)
    np.testing.assert_allclose(sde.beta(jnp.array([0.0, 1.0])), [0.1, 7.0], rtol=1e-6)
    np.testing.assert_allclose(SDE.g2(jnp.array([0.3])), [8.0], rtol=1e-6)
    assert SDE.friction**2 == 4 * SDE.mass


def test_the_start_is_the_data_with_a_random_velocity():
    """At t = 0 exactly, where the kernel is degenerate and nothing is divided by 0."""
    expected = [[0.0, 0.0], [0.0, 0.01]]
    found = covariance(SDE, jnp.zeros(1))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


TIMES = np.geomspace(1e-6, 1, 97, dtype=np.float32)


@pytest.mark.parametrize("sde", [SDE, CLD(beta_0=0.1, beta_1=7.0), CLD(gamma=1.0)])
@pytest.mark.parametrize(
    "name", ["score_scale", "normal_error", "data_noise", "kernel", "mean"]
)
def test_float32_equals_float64(sde, name):
    """To 1e-5 at every time from 1e-6 on, series and differences alike."""

    def values(t):
        if name == "kernel":
            return jax.vmap(lambda s: covariance(sde, s[None]))(t)
        if name == "mean":
            # Velocities' share alone: positions' are 1 minus a little.
            return sde.mean(jnp.ones((t.size, 1), t.dtype), t)
        return getattr(sde, name)(t)

    low = np.asarray(values(jnp.asarray(TIMES)))
    with jax.enable_x64(True):
        high = np.asarray(values(jnp.asarray(TIMES, jnp.float64)))
    np.testing.assert_allclose(low, high, rtol=1e-5)


def test_normal_flow_is_a_rotation_for_matched_velocities(x64):
    """gamma = 1: x^2 + v^2 / M stays, whatever the time."""
    sde, t = CLD(gamma=1.0), jnp.array([0.02, 0.3, 0.9])
    u = jax.random.normal(jax.random.key(0), (3, 2))
    du = sde.probability_flow(u, t, jnp.zeros((3, 1)))
    change = u[:, 0] * du[:, 0] + u[:, 1] * du[:, 1] / sde.mass
    np.testing.assert_allclose(change, 0, atol=1e-12)


def test_likelihood_weight_integrates_to_the_log_determinant(x64):
    """int friction beta l^2 dt = C(1) - C(t_min), C = log det S / 2 + friction B / M:
    24.6 nats at the cutoff of 1e-3."""
    places, weights = np.polynomial.legendre.leggauss(40)
    ends = np.geomspace(1e-3, 1, 30)
    widths = np.diff(ends)[:, None]
    t = ends[:-1, None] + 0.5 * (places + 1) * widths
    values = np.reshape(LikelihoodWeighting()(SDE, jnp.asarray(t.ravel())), t.shape)
    integral = np.sum(0.5 * widths * weights * values)
    log_det = [
        np.linalg.slogdet(covariance(SDE, jnp.array([s])))[1] for s in (1.0, 1e-3)
    ]
    expected = 0.5 * (log_det[0] - log_det[1]) + 1 / 0.25 * 4 * (1 - 1e-3)
    np.testing.assert_allclose(integral, expected, rtol=1e-9)
    assert integral == pytest.approx(24.6, abs=0.05)


def test_times_in_proportion_to_the_likelihood_weight(x64):
    """C(t) is their distribution function; 1 / density is Z over the weight."""
    sampler = Proportional(weighting=LikelihoodWeighting(), t_min=1e-3)
    rho = jnp.linspace(0, 1, 11)
    t, density = sampler.times(SDE, rho)

    def closed(time):
        log_det = np.linalg.slogdet(covariance(SDE, jnp.array([time])))[1]
        return 0.5 * log_det + 4 * 4 * float(time)

    ends = closed(1e-3), closed(1.0)
    found = [(closed(time) - ends[0]) / (ends[1] - ends[0]) for time in t]
    np.testing.assert_allclose(found, rho, atol=1e-6)
    total = LikelihoodWeighting()(SDE, t) / density
    np.testing.assert_allclose(total, ends[1] - ends[0], rtol=1e-9)


def test_plain_score_matching_has_the_noisier_target(x64):
    """Its scale, given the velocity too, is that of gamma = 0."""
    t = jnp.asarray(np.geomspace(1e-6, 1, 30))
    given = dataclasses.replace(SDE, gamma=1e-13)
    ratio = given.score_scale(t) / SDE.score_scale(t)
    np.testing.assert_allclose(SDE.target_spread(t) ** 2, ratio**2 - 1, atol=1e-6)
    assert float(ratio[0]) == pytest.approx((4 / 3) ** 0.5, rel=1e-4)


@pytest.mark.parametrize(
    "weighting", [LikelihoodWeighting(), Reweighted(), Unweighted()]
)
def test_importance_sampling_by_table(x64, weighting):
    """The distribution function of times is the integral of their density; for the
    likelihood it is log(1 + 1 / nu) / 2, turned around."""
    sampler = Importance(weighting=weighting, t_min=1e-3)
    # Up to where the last hardly likely times spread.
    rho = jnp.linspace(0, 0.99, 4001)
    t, density = sampler.times(SDE, rho)
    cells = 0.5 * (density[1:] + density[:-1]) * np.diff(t)
    np.testing.assert_allclose(np.cumsum(cells), rho[1:], atol=1e-4)
    if weighting == LikelihoodWeighting():
        share = -0.5 * jnp.log1p(1 / SDE.data_noise(t))
        last = -0.5 * jnp.log1p(1 / SDE.data_noise(jnp.ones(1)))
        expected = (share - share[0]) / (last - share[0])
        np.testing.assert_allclose(expected, rho, atol=1e-6)


@pytest.mark.parametrize("t_min", [1e-5, 1e-3, 1e-2])
def test_normal_bound_is_exact_for_normal_data(x64, t_min):
    """-log N(z_0; 0, 1 + nu) in the mean over z_0, and the prior's mismatch at the end
    (z_0^2 times 8e-6); 1e-6 nats at a cutoff of 1e-3."""
    z0 = jnp.array([[-1.3], [0.2], [2.0]])
    found = SDE.normal_bound(z0, t_min)
    nu = SDE.data_noise(jnp.array([t_min]))[0]
    # E log N over z_0 + sqrt(nu) n, for the model completes its own noise.
    expected = 0.5 * (np.log(2 * np.pi * (1 + nu)) + (z0**2 + nu) / (1 + nu))
    np.testing.assert_allclose(found, expected, atol=4e-5)
    plain = 0.5 * (z0**2 + np.log(2 * np.pi))
    np.testing.assert_allclose(found, plain, atol=2 * float(nu) + 4e-5)


def test_bound_constant_and_end():
    expected = 0.5 * np.log(2 * np.pi * np.e * 4.57630700e-7)
    assert SDE.bound_constant(1e-3) == pytest.approx(expected, rel=1e-7)
    with pytest.raises(ValueError, match="t_min = 0.0"):
        SDE.bound_constant(0.0)
    one = jnp.ones((1, 1))
    assert float(SDE.prior_kl(one)[0, 0]) == pytest.approx(8.2e-6, rel=0.02)
    later = CLD(beta_0=0.1, beta_1=7.0)
    assert float(later.prior_kl(one)[0, 0]) == pytest.approx(3.9e-5, rel=0.02)


@pytest.mark.parametrize("added", [1e-6, 1e-2])
def test_added_variance_is_in_every_form(x64, added):
    """On both diagonals of S, and through it in N, the predictors, nu and the force."""
    plain = CLD(beta_0=1.0, beta_1=5.0, mass=0.5, gamma=0.1)
    sde = dataclasses.replace(plain, added_var=added)
    u, r = np.array([0.7, -0.4]), 0.3
    for time in (1e-4, 0.05, 0.9):
        t = jnp.array([time])
        s = covariance(plain, t) + added * np.eye(2)
        np.testing.assert_allclose(covariance(sde, t), s, rtol=1e-9)
        p = np.asarray(sde.mean(jnp.ones((1, 1)), t))[0]
        n = s + np.outer(p, p)
        scale = np.sqrt(s[0, 0] / np.linalg.det(s))
        eps = np.linalg.solve(n, u)[1] / scale
        state, residual = jnp.asarray(u)[None], jnp.full((1, 1), r)
        beta, slope = float(sde.beta(t)[0]), s[0, 1] / s[0, 0]
        expected = {
            "score_scale": scale,
            "data_noise": 1 / (p @ np.linalg.solve(s, p)),
            "normal_eps": eps,
            "base_eps": u[1] / s[1, 1] / scale,
            "force": sde.friction * beta * (u[1] / sde.mass - scale * (eps + r)),
            "estimate": (u[1] - (eps + r) / scale - slope * u[0])
            / (p[1] - slope * p[0]),
        }
        arguments = {"score_scale": (t,), "data_noise": (t,)}
        arguments |= {"normal_eps": (state, t), "base_eps": (state, t)}
        for name, value in expected.items():
            found = getattr(sde, name)(*arguments.get(name, (state, t, residual)))
            np.testing.assert_allclose(np.ravel(found), value, rtol=1e-7, err_msg=name)


def test_lift_draws_from_the_initial_velocities_at_small_times():
    z0, eps = jnp.ones((1, 1)), jnp.full((1, 1), 2.0)
    u, log_prob = SDE.lift(z0, jnp.array([1e-6]), eps)
    np.testing.assert_allclose(u, [[1.0, 0.2]], rtol=1e-3)
    expected = -0.5 * (4 + np.log(2 * np.pi * 0.01))
    np.testing.assert_allclose(log_prob, [expected], rtol=1e-3)


@pytest.mark.parametrize(
    ("field", "value"),
    [("beta_0", 0.0), ("beta_1", -1.0), ("mass", 0.0), ("gamma", 0.0), ("gamma", 1.5)]
    + [("added_var", -1e-6)],
)
def test_bad_fields_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        CLD(**{field: value})


def test_rescaled_weights_are_for_scalar_processes():
    with pytest.raises(ValueError, match="Rescaled needs a ScalarSDE, not CLD"):
        Rescaled()(SDE, jnp.array([0.5]))

"""Laws that hold for every SDE: equation numbers are those of lsgm.sdes.base."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.sdes.base import ScalarSDE, VariancePreservingSDE
from tests.sdes.catalog import ALL, SCALAR

TIMES = np.array([1e-3, 0.03, 0.2, 0.5, 0.85, 1.0])
TINY_TO_ONE = np.concatenate([np.geomspace(1e-6, 0.1, 16), np.linspace(0.12, 1, 18)])

every_sde = pytest.mark.parametrize("sde", ALL, ids=str)
every_scalar_sde = pytest.mark.parametrize("sde", SCALAR, ids=str)


def close(actual, desired, rtol=1e-6):
    actual, desired = np.asarray(actual), np.asarray(desired)
    scale = np.max(np.abs(desired), initial=0)
    np.testing.assert_allclose(actual, desired, rtol=rtol, atol=1e-12 * scale)


def initial_state(sde):
    return sde.lift(jax.random.key(0), jnp.array([[0.8, -1.3]]))


def noise_like(u):
    return jax.random.normal(jax.random.key(1), u.shape)


def at_each_time(fn):
    """``fn`` of one time [1], for all TIMES."""
    return jax.vmap(lambda t: fn(t[None]))(jnp.asarray(TIMES))


def matrix(fn, u):
    """The linear map ``fn`` of states as a matrix."""
    return jax.jacfwd(lambda v: fn(v[None])[0])(jnp.zeros_like(u[0]))


def slope(fn, t):
    """d fn / dt for fn of a batch of times."""
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]


@every_sde
def test_is_static(sde):
    assert sde == type(sde)(**{f: getattr(sde, f) for f in sde.__dataclass_fields__})
    jitted = jax.jit(lambda s, t: s.g2(t), static_argnums=0)
    assert jitted(sde, jnp.ones(3)).shape == (3,)


@every_sde
def test_mean_follows_the_drift(x64, sde):
    """Eq. (1): d mean / dt = f(mean, t)."""
    u0 = initial_state(sde)
    close(
        at_each_time(lambda t: slope(lambda s: sde.mean(u0, s), t)),
        at_each_time(lambda t: sde.drift(sde.mean(u0, t), t)),
    )


@every_sde
def test_covariance_follows_drift_and_diffusion(x64, sde):
    """Eqs. (1, 2): d(L L')/dt = A L L' + L L' A' + G G'."""
    u0 = initial_state(sde)
    noised = matrix(sde.noised, u0)

    def covariance(t):
        root = matrix(lambda e: sde.scale_noise(e, t), u0)
        return root @ root.T

    def expected(t):
        spread = matrix(lambda u: sde.drift(u, t), u0) @ covariance(t)
        return spread + spread.T + sde.g2(t)[0] * noised.T @ noised

    close(at_each_time(lambda t: slope(covariance, t)), at_each_time(expected))


@every_sde
def test_starts_at_the_data(x64, sde):
    u0 = initial_state(sde)
    close(sde.mean(u0, jnp.zeros(1)), u0)


@every_sde
def test_score_is_the_gradient_of_the_kernel(x64, sde):
    """Eq. (3) against autodiff of log N(u; mean, L L')."""
    u0 = initial_state(sde)
    eps = noise_like(u0)

    def gradient(t):
        root = matrix(lambda e: sde.scale_noise(e, t), u0)

        def log_kernel(u):
            white = jnp.linalg.solve(root, (u - sde.mean(u0, t))[0])
            return -0.5 * jnp.sum(white**2)

        return sde.noised(jax.grad(log_kernel)(sde.perturb(u0, t, eps)))

    close(at_each_time(lambda t: sde.score(sde.noised(eps), t)), at_each_time(gradient))


@every_sde
def test_probability_flow_is_drift_minus_half_g2_score(x64, sde):
    """Eqs. (4, 5), and the cancellation of the drift where it is used."""
    u = initial_state(sde)
    residual = 0.1 * sde.noised(noise_like(u))
    noised = matrix(sde.noised, u)

    def expected(t):
        score = sde.score(sde.normal_eps(u, t) + residual, t)
        return sde.drift(u, t) - 0.5 * sde.g2(t)[0] * score @ noised

    velocity = at_each_time(lambda t: sde.probability_flow(u, t, residual))
    np.testing.assert_allclose(velocity, at_each_time(expected), rtol=1e-6, atol=1e-9)


@every_scalar_sde
def test_normal_eps_is_the_best_predictor_of_normal_data(x64, sde):
    """Eqs. (4, 6, 7): E(eps - c u)^2 = 1 - 2 c sigma + c^2 N is least at our c,
    and is normal_error there."""
    t = jnp.asarray(TIMES)
    c = sde.normal_eps(jnp.ones((t.size, 1)), t)[:, 0]
    sigma = jnp.sqrt(sde.var(t))
    total = sde.alpha(t) ** 2 * sde.data_var + sde.var(t)
    close(c * total, sigma)
    error = 1 - 2 * c * sigma + c**2 * total
    np.testing.assert_allclose(sde.normal_error(t), error, rtol=1e-9, atol=1e-13)


@every_scalar_sde
def test_normal_error_is_the_slope_of_the_log_variance_share(x64, sde):
    """Eq. (8)."""
    t = jnp.asarray(TIMES)
    log_share = slope(lambda s: jnp.log(sde.var(s) / sde.normal_var(s)), t)
    close(sde.normal_error(t) * sde.g2(t) / sde.var(t), log_share)


@every_scalar_sde
def test_inv_var_inverts_var(x64, sde):
    t = jnp.asarray(TIMES)
    back = sde.inv_var(sde.var(t))
    close(sde.var(back), sde.var(t))
    grows = slope(sde.var, t) > 0
    assert np.sum(grows) >= TIMES.size - 1
    np.testing.assert_allclose(back[grows], t[grows], rtol=1e-8)
    assert np.all(back[~grows] > t[~grows])


@every_scalar_sde
def test_log_snr_falls(x64, sde):
    t = jnp.asarray(TINY_TO_ONE)
    close(jnp.exp(sde.log_snr(t)), sde.alpha(t) ** 2 / sde.var(t))
    assert np.all(np.diff(sde.log_snr(t)) < 0)


def overrides(names):
    """(sde, name) for every method that an SDE writes anew."""
    return [
        pytest.param(sde, name, id=f"{sde}-{name}")
        for sde in SCALAR
        for name in names
        if getattr(type(sde), name) is not getattr(ScalarSDE, name)
    ]


@pytest.mark.parametrize(
    ("sde", "name"),
    overrides(["log_snr", "normal_var", "one_minus_var", "normal_error"]),
)
def test_overrides_of_time_agree_with_the_defaults(x64, sde, name):
    t = jnp.asarray(TIMES)
    expected = getattr(ScalarSDE, name)(sde, t)
    np.testing.assert_allclose(getattr(sde, name)(t), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("sde", "name"), overrides(["normal_eps", "probability_flow"]))
def test_overrides_of_state_agree_with_the_defaults(x64, sde, name):
    t = jnp.asarray(TIMES)
    u = jax.random.normal(jax.random.key(2), (t.size, 2, 3))
    args = (u, t) if name == "normal_eps" else (u, t, 0.3 * u**2)
    expected = getattr(ScalarSDE, name)(sde, *args)
    np.testing.assert_allclose(getattr(sde, name)(*args), expected, rtol=1e-8)


@pytest.mark.parametrize(
    "sde", [s for s in SCALAR if isinstance(s, VariancePreservingSDE)], ids=str
)
def test_variance_is_preserved(x64, sde):
    t = jnp.asarray(TIMES)
    total = sde.alpha(t) ** 2 * (1 - sde.var_0) + sde.var(t)
    np.testing.assert_allclose(total, 1, rtol=1e-12)
    np.testing.assert_allclose(sde.var(jnp.zeros(1)), sde.var_0, atol=1e-15)


@every_scalar_sde
def test_prior_kl_is_the_divergence_of_two_normals(x64, sde):
    """The integral of p log(p / q), by quadrature."""
    z0 = np.array([-1.7, 0.0, 0.4])
    one = jnp.ones(1)
    alpha, var = float(sde.alpha(one)[0]), float(sde.var(one)[0])
    grid = np.linspace(-12, 12, 20001)
    u = alpha * z0[:, None] + np.sqrt(var) * grid
    p = np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi)
    log_p = -0.5 * (grid**2 + np.log(2 * np.pi * var))
    log_q = -0.5 * (u**2 / sde.prior_var + np.log(2 * np.pi * sde.prior_var))
    expected = np.trapezoid(p * (log_p - log_q), grid, axis=1)
    actual = sde.prior_kl(jnp.asarray(z0)[:, None])[:, 0]
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-12)


@every_scalar_sde
def test_prior_is_where_the_process_ends(x64, sde):
    """Samples have the variance whose density prior_log_prob is, near N(1)."""
    u = sde.prior_sample(jax.random.key(3), (4, 5000))
    np.testing.assert_allclose(jnp.var(u), sde.prior_var, rtol=0.04)
    np.testing.assert_allclose(sde.normal_var(jnp.ones(1)), sde.prior_var, rtol=0.3)
    grid = jnp.linspace(-10, 10, 4001)[:, None] * sde.prior_var**0.5
    density = jnp.exp(sde.prior_log_prob(grid))
    np.testing.assert_allclose(jnp.trapezoid(density, grid[:, 0]), 1, rtol=1e-6)
    second = jnp.trapezoid(density * grid[:, 0] ** 2, grid[:, 0])
    np.testing.assert_allclose(second, sde.prior_var, rtol=1e-6)


@every_scalar_sde
def test_bound_constant_is_the_kernel_entropy(x64, sde):
    t_min = 0.02
    sigma = float(jnp.sqrt(sde.var(jnp.array([t_min])))[0])
    u = np.linspace(-12, 12, 20001) * sigma
    density = np.exp(-0.5 * (u / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    log_density = -0.5 * ((u / sigma) ** 2 + np.log(2 * np.pi * sigma**2))
    entropy = -np.trapezoid(density * log_density, u)
    assert sde.bound_constant(t_min) == pytest.approx(entropy, rel=1e-9)
    traced = jax.jit(lambda x: x + sde.bound_constant(t_min))(0.0)
    assert float(traced) == pytest.approx(entropy, rel=1e-6)


def in_both_precisions(fn, t):
    """fn in float32, and in float64 at the same float32 arguments."""
    single = np.asarray(t, np.float32)
    with jax.enable_x64(False):
        low = np.asarray(fn(jnp.asarray(single)), np.float64)
    with jax.enable_x64(True):
        high = np.asarray(fn(jnp.asarray(single, jnp.float64)))
    return low, high


@every_scalar_sde
@pytest.mark.parametrize(
    "name",
    ["beta", "g2", "alpha", "var", "normal_var", "normal_error", "score_scale"],
)
def test_float32_keeps_its_digits(sde, name):
    low, high = in_both_precisions(getattr(sde, name), TINY_TO_ONE)
    np.testing.assert_allclose(low, high, rtol=3e-5)


@every_scalar_sde
def test_float32_keeps_the_digits_of_one_minus_var_and_log_snr(sde):
    if sde.prior_var <= 1:  # otherwise 1 - var crosses zero and serves nothing
        low, high = in_both_precisions(sde.one_minus_var, TINY_TO_ONE)
        np.testing.assert_allclose(low, high, rtol=3e-5)
    low, high = in_both_precisions(sde.log_snr, TINY_TO_ONE)
    np.testing.assert_allclose(low, high, rtol=1e-6, atol=1e-5)


@every_scalar_sde
def test_float32_inverts_as_well_as_the_variance_is_held(sde):
    """One float32 rounding of var moves t by that over var'."""
    with jax.enable_x64(True):
        t = jnp.asarray(TINY_TO_ONE)
        growth = np.asarray(slope(sde.var, t))
        var = np.asarray(sde.var(t), np.float32)
    low, high = in_both_precisions(sde.inv_var, var)
    rounding = var / growth
    error = np.abs(low - high)[growth > 0]
    assert np.all(error <= 1e-6 * (rounding + TINY_TO_ONE)[growth > 0])
    assert np.all(np.isfinite(low))

"""Laws that hold for every SDE, and more for the scalar ones: equation numbers are
those of lsgm.sdes.base."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.sdes.base import LOG_2PI
from lsgm.sdes.scalar import ScalarSDE, VariancePreservingSDE
from tests.sdes.catalog import ALL, SCALAR

TIMES = np.array([1e-3, 0.03, 0.2, 0.5, 0.85, 1.0])
TINY_TO_ONE = np.concatenate([np.geomspace(1e-6, 0.1, 16), np.linspace(0.12, 1, 18)])

every_sde = pytest.mark.parametrize("sde", ALL, ids=str)
every_scalar_sde = pytest.mark.parametrize("sde", SCALAR, ids=str)


def close(actual, desired, rtol=1e-6):
    actual, desired = np.asarray(actual), np.asarray(desired)
    scale = np.max(np.abs(desired), initial=0)
    np.testing.assert_allclose(actual, desired, rtol=rtol, atol=1e-12 * scale)


def data():
    return jnp.array([[0.8, -1.3]])


def noise(shape):
    return jax.random.normal(jax.random.key(1), shape)


def a_state(sde):
    return sde.mean(data(), jnp.zeros(1)) + 0.3 * noise(sde.state_shape((1, 2)))


def at_each_time(fn):
    """``fn`` of one time [1], for all TIMES."""
    return jax.vmap(lambda t: fn(t[None]))(jnp.asarray(TIMES))


def matrix(fn, shape, dtype=None):
    """The linear map ``fn`` of batches as a matrix, from its value on one example of
    ``shape``, batch first."""
    zero = jnp.zeros(shape[1:], dtype)
    return jax.jacfwd(lambda v: fn(v[None])[0])(zero)


def kernel(sde, t, num=1):
    """Eq. (2) for ``num`` dimensions of data: the matrices of mean and noise."""
    mean = matrix(lambda z: sde.mean(z, t), (1, num))
    root = matrix(lambda e: sde.scale_noise(e, t), sde.state_shape((1, num)))
    return mean, root


def normal_covariance(sde, t):
    """N of Eq. (7) for one dimension of data."""
    mean, root = kernel(sde, t)
    return sde.data_var * mean @ mean.T + root @ root.T


def slope(fn, t):
    """d fn / dt for fn of a batch of times."""
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]


@every_sde
def test_is_static(sde):
    assert sde == type(sde)(**{f: getattr(sde, f) for f in sde.__dataclass_fields__})
    jitted = jax.jit(lambda s, t: s.g2(t), static_argnums=0)
    assert jitted(sde, jnp.ones(3)).shape == (3,)


@every_sde
@pytest.mark.parametrize("shape", [(5, 2), (5, 4, 4, 3)], ids=str)
def test_shapes(sde, shape):
    """Data first in the state, in blocks of its channels; with or without a batch."""
    state, noised = sde.state_shape(shape), sde.noise_shape(shape)
    assert sde.state_shape(shape[1:]) == state[1:]
    assert sde.noise_shape(shape[1:]) == noised[1:]
    assert state[:-1] == noised[:-1] == shape[:-1] and state[-1] % shape[-1] == 0
    z0, eps, t = jnp.ones(shape), jnp.ones(state), jnp.full(shape[:1], 0.4)
    u = sde.perturb(z0, t, eps)
    residual = sde.noised(eps)
    assert u.shape == sde.mean(z0, t).shape == sde.drift(u, t).shape == state
    assert sde.probability_flow(u, t, residual).shape == state
    assert sde.lower(u).shape == sde.prior_kl(z0).shape == shape
    assert sde.normal_bound(z0, 1e-2).shape == shape
    assert residual.shape == sde.normal_eps(u, t).shape == noised
    assert sde.score(residual, t).shape == noised
    assert sde.prior_sample(jax.random.key(0), shape).shape == state
    assert sde.prior_log_prob(u).shape == t.shape
    np.testing.assert_array_equal(sde.lower(u), u[..., : shape[-1]])


@every_sde
def test_noised_selects_and_embed_puts_back(sde):
    shape = sde.state_shape((1, 2))
    noised = matrix(sde.noised, shape)
    np.testing.assert_array_equal(noised @ noised.T, np.eye(len(noised)))
    embed = matrix(sde.embed, sde.noise_shape((1, 2)))
    np.testing.assert_array_equal(embed, noised.T)


@every_sde
def test_mean_follows_the_drift(x64, sde):
    """Eq. (1): d mean / dt = f(mean, t)."""
    close(
        at_each_time(lambda t: slope(lambda s: sde.mean(data(), s), t)),
        at_each_time(lambda t: sde.drift(sde.mean(data(), t), t)),
    )


@every_sde
def test_covariance_follows_drift_and_diffusion(x64, sde):
    """Eqs. (1, 2): d(L L')/dt = A L L' + L L' A' + G G'."""
    shape = sde.state_shape((1, 2))
    noised = matrix(sde.noised, shape)

    def covariance(t):
        root = kernel(sde, t, 2)[1]
        return root @ root.T

    def expected(t):
        spread = matrix(lambda u: sde.drift(u, t), shape) @ covariance(t)
        return spread + spread.T + sde.g2(t)[0] * noised.T @ noised

    close(at_each_time(lambda t: slope(covariance, t)), at_each_time(expected))


@every_sde
def test_starts_at_the_data(x64, sde):
    start = sde.mean(data(), jnp.zeros(1))
    close(sde.lower(start), data())
    appended = start - jnp.pad(data(), [(0, 0), (0, start.shape[1] - 2)])
    np.testing.assert_array_equal(appended, 0 * start)


@every_sde
def test_score_is_the_gradient_of_the_kernel(x64, sde):
    """Eq. (3) against autodiff of log N(u; mean, L L')."""
    eps = noise(sde.state_shape((1, 2)))

    def gradient(t):
        root = kernel(sde, t, 2)[1]

        def log_kernel(u):
            white = jnp.linalg.solve(root, (u - sde.mean(data(), t))[0])
            return -0.5 * jnp.sum(white**2)

        return sde.noised(jax.grad(log_kernel)(sde.perturb(data(), t, eps)))

    close(at_each_time(lambda t: sde.score(sde.noised(eps), t)), at_each_time(gradient))


@every_sde
def test_probability_flow_is_drift_minus_half_g2_score(x64, sde):
    """Eqs. (4, 5), whatever cancels in the form that is used."""
    u = a_state(sde)
    residual = 0.1 * noise(sde.noise_shape((1, 2)))

    def expected(t):
        score = sde.score(sde.normal_eps(u, t) + residual, t)
        return sde.drift(u, t) - 0.5 * sde.g2(t)[0] * sde.embed(score)

    velocity = at_each_time(lambda t: sde.probability_flow(u, t, residual))
    np.testing.assert_allclose(velocity, at_each_time(expected), rtol=1e-6, atol=1e-9)


@every_sde
def test_all_divergence_is_on_the_noised_part(x64, sde):
    shape = sde.state_shape((1, 2))
    noised = matrix(sde.noised, shape)

    def rest(t):
        drift = matrix(lambda u: sde.drift(u, t), shape)
        return jnp.trace(drift) - jnp.trace(noised @ drift @ noised.T)

    np.testing.assert_allclose(at_each_time(rest), 0, atol=1e-12)


@every_sde
def test_normal_eps_is_the_best_predictor_of_normal_data(x64, sde):
    """Eqs. (4, 6): E[noised(eps) | u_t] of the joint Normal distribution is cov(eps, u)
    N^-1 u, and normal_error what it leaves of a variance of 1."""
    shape = sde.state_shape((1, 1))
    noised = matrix(sde.noised, shape)

    def best(t):
        return noised @ kernel(sde, t)[1].T @ jnp.linalg.inv(normal_covariance(sde, t))

    def error(t):
        return 1 - jnp.trace(best(t) @ kernel(sde, t)[1] @ noised.T) / len(noised)

    close(
        at_each_time(lambda t: matrix(lambda u: sde.normal_eps(u, t), shape)),
        at_each_time(best),
    )
    np.testing.assert_allclose(
        at_each_time(sde.normal_error)[:, 0], at_each_time(error), rtol=1e-9, atol=1e-13
    )


@every_sde
def test_normal_error_is_the_slope_of_the_log_determinants(x64, sde):
    """Eq. (7)."""

    def log_share(t):
        log_kernel = 2 * jnp.linalg.slogdet(kernel(sde, t)[1])[1]
        return log_kernel - jnp.linalg.slogdet(normal_covariance(sde, t))[1]

    rate = at_each_time(lambda t: sde.normal_error(t) * sde.g2(t))[:, 0]
    scale = at_each_time(sde.score_scale)[:, 0] ** 2
    close(rate * scale, at_each_time(lambda t: slope(log_share, t)))


@every_scalar_sde
def test_normal_error_is_the_slope_of_the_log_variance_share(x64, sde):
    """Eqs. (1, 2) of lsgm.sdes.scalar."""
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


def gains(sde, t, data_var):
    """Of the best estimate of z_0 from u_t for data of this variance: [1 s]; and of the
    predicted noise that belongs to it, [n s]."""
    mean, root = kernel(sde, t)
    precision = jnp.linalg.inv(data_var * mean @ mean.T + root @ root.T)
    noised = matrix(sde.noised, sde.state_shape((1, 1)))
    return data_var * mean.T @ precision, noised @ root.T @ precision


@every_sde
def test_estimate_is_the_posterior_mean(x64, sde):
    """Of Gaussian data, from the predictor that knows their variance."""
    u = jnp.linspace(-1.0, 0.7, sde.state_shape((1, 1))[1])[None]

    def both(t):
        estimate, predictor = gains(sde, t, 0.3)
        residual = u @ predictor.T - sde.normal_eps(u, t)
        return sde.estimate(u, t, residual), u @ estimate.T

    found, expected = jax.vmap(lambda t: jnp.stack(both(t[None])))(
        jnp.asarray(TIMES)
    ).swapaxes(0, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@every_sde
def test_estimate_gives_the_data_back_from_their_noise(x64, sde):
    eps = noise(sde.state_shape((1, 2)))

    def back(t):
        u = sde.perturb(data(), t, eps)
        return sde.estimate(u, t, sde.noised(eps) - sde.normal_eps(u, t))

    found = jax.vmap(lambda t: back(t[None]))(jnp.asarray(TIMES[:-1]))
    np.testing.assert_allclose(found, jnp.broadcast_to(data(), found.shape), atol=1e-6)


@every_sde
def test_log_snr_is_the_information_of_a_state(x64, sde):
    """1 / nu = mean' S^-1 mean; it falls."""

    def information(t):
        mean, root = kernel(sde, t)
        return jnp.sum(jnp.linalg.solve(root, mean) ** 2)

    found = at_each_time(lambda t: jnp.exp(sde.log_snr(t)))[:, 0]
    np.testing.assert_allclose(found, at_each_time(information), rtol=1e-6)
    assert np.all(np.diff(sde.log_snr(jnp.asarray(TINY_TO_ONE))) < 0)


@every_sde
def test_noises_data_tells_whether_noise_enters_the_data(sde):
    ones = jnp.ones(sde.noise_shape((1, 2)))
    assert sde.noises_data == bool(sde.lower(sde.embed(ones)).any())
    u = a_state(sde)
    replaced = sde.replace_data(u, data())
    np.testing.assert_array_equal(sde.lower(replaced), data())
    np.testing.assert_array_equal(replaced[:, 2:], u[:, 2:])


@every_sde
def test_base_predictor_knows_the_noised_part_alone(x64, sde):
    """cov(eps, noised u) / var(noised u), for data that are a point (augmented) or
    Normal (where all is noised)."""
    data_var = sde.data_var if sde.noises_data else 0.0
    noised = matrix(sde.noised, sde.state_shape((1, 1)))

    def expected(t):
        mean, root = kernel(sde, t)
        var = noised @ (data_var * mean @ mean.T + root @ root.T) @ noised.T
        # The score, in units of the noise that the predictor is of.
        return jnp.linalg.inv(var)[0, 0] / sde.score_scale(t)[0]

    u = jnp.ones(sde.state_shape((1, 1)))
    found = at_each_time(lambda t: sde.base_eps(u, t)[0, 0])
    np.testing.assert_allclose(found, at_each_time(expected), rtol=1e-6)


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


@every_sde
def test_prior_kl_is_the_divergence_of_two_normals(x64, sde):
    """E log(p / q), by Gauss-Hermite quadrature over the noise: exact for Normals."""
    z0, one = jnp.array([[-1.7], [0.0], [0.4]]), jnp.ones(1)
    places, weights = np.polynomial.hermite_e.hermegauss(9)
    weights /= weights.sum()
    _, root = kernel(sde, one)
    num = len(root)
    eps = np.stack(np.meshgrid(*[places] * num, indexing="ij"), -1).reshape(-1, num)
    share = np.prod(np.stack(np.meshgrid(*[weights] * num, indexing="ij"), -1), -1)
    log_p = -0.5 * np.sum(eps**2 + LOG_2PI, -1) - np.linalg.slogdet(root)[1]
    for z, found in zip(z0, sde.prior_kl(z0)[:, 0], strict=True):
        u = sde.mean(z[None], one) + eps @ root.T
        expected = np.sum(share.ravel() * (log_p - sde.prior_log_prob(u)))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


@every_sde
def test_prior_is_where_the_process_ends(x64, sde):
    """prior_log_prob is a Normal density of mean 0; samples have its covariance, which
    is near that of Normal data at t = 1."""

    def log_prob(u):
        return sde.prior_log_prob(u[None])[0]

    zero = jnp.zeros(sde.state_shape((1, 1)))[0]
    covariance = jnp.linalg.inv(-jax.hessian(log_prob)(zero))
    np.testing.assert_allclose(
        jax.hessian(log_prob)(zero + 3), -jnp.linalg.inv(covariance)
    )
    np.testing.assert_array_equal(jax.grad(log_prob)(zero), 0)
    height = -0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    np.testing.assert_allclose(log_prob(zero), height, rtol=1e-9)
    u = sde.prior_sample(jax.random.key(3), (20_000, 1))
    deviations = jnp.sqrt(jnp.diag(covariance))
    scale = deviations[:, None] * deviations[None]
    np.testing.assert_allclose(u.T @ u / 20_000 / scale, covariance / scale, atol=0.04)
    last = normal_covariance(sde, jnp.ones(1))
    np.testing.assert_allclose(last / scale, covariance / scale, atol=0.3)


@every_scalar_sde
def test_prior_var_is_the_variance_of_the_prior(x64, sde):
    one = jnp.full((1, 1), sde.prior_var**0.5)
    gap = sde.prior_log_prob(0 * one) - sde.prior_log_prob(one)
    np.testing.assert_allclose(gap, 0.5, rtol=1e-9)


@every_sde
def test_lift_keeps_the_data_and_tells_the_density_of_the_rest(x64, sde):
    """The rest is linear in the noise: its density by the change of variables."""
    t, eps = jnp.array([0.02]), noise(sde.noise_shape((1, 2)))
    lifted = sde.lift(data(), t, eps)
    assert lifted.u.shape == sde.state_shape((1, 2)) and lifted.log_prob.shape == (1,)
    np.testing.assert_array_equal(sde.lower(lifted.u), data())
    spread = matrix(lambda e: sde.lift(data(), t, e).u, eps.shape)
    if sde.state_shape((1, 2)) == (1, 2):
        assert not spread.any() and not lifted.log_prob.any()
        np.testing.assert_array_equal(sde.lift(data(), t, None).u, data())
        return
    log_det = 0.5 * np.linalg.slogdet(spread.T @ spread)[1]
    expected = -0.5 * np.sum(eps**2 + LOG_2PI) - log_det
    np.testing.assert_allclose(lifted.log_prob[0], expected, rtol=1e-9)
    with pytest.raises(ValueError, match="eps"):
        sde.lift(data(), t, None)


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


@every_sde
@pytest.mark.parametrize("name", ["g2", "normal_error", "score_scale"])
def test_float32_keeps_its_digits(sde, name):
    low, high = in_both_precisions(getattr(sde, name), TINY_TO_ONE)
    np.testing.assert_allclose(low, high, rtol=3e-5)


@every_scalar_sde
@pytest.mark.parametrize("name", ["beta", "alpha", "var", "normal_var"])
def test_float32_keeps_the_digits_of_scalars(sde, name):
    low, high = in_both_precisions(getattr(sde, name), TINY_TO_ONE)
    np.testing.assert_allclose(low, high, rtol=3e-5)


MAPS = {
    "mean": lambda sde, z, e, r, t: sde.mean(z, t),
    "noise": lambda sde, z, e, r, t: sde.scale_noise(e, t),
    "normal_eps": lambda sde, z, e, r, t: sde.normal_eps(e, t),
    "flow": lambda sde, z, e, r, t: sde.probability_flow(e, t, r),
}


@every_sde
@pytest.mark.parametrize("name", MAPS)
def test_float32_keeps_the_digits_of_linear_maps(sde, name):
    """Of each row's largest coefficient, at each time."""
    shapes = (1, 1), sde.state_shape((1, 1)), sde.noise_shape((1, 1))

    def coefficients(times):
        inputs = tuple(jnp.zeros(shape, times.dtype) for shape in shapes)

        def rows(t):
            at = jax.jacfwd(lambda x: MAPS[name](sde, *x, t[None])[0])(inputs)
            return jnp.concatenate([part[:, 0] for part in at], axis=1)

        return jax.vmap(rows)(times)

    low, high = in_both_precisions(coefficients, TINY_TO_ONE)
    largest = np.abs(high).max(-1, keepdims=True)
    assert np.all(np.abs(low - high) <= 3e-5 * largest)


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

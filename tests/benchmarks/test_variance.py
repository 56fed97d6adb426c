"""The variance report against closed forms."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.benchmarks import variance
from lsgm.benchmarks.time_integral import (
    DATA_VAR,
    DIMS,
    MODEL_VAR,
    IntegrandMoments,
    gain,
    quadrature,
)
from lsgm.numerics import on_host
from lsgm.objectives.time_sampling import Importance, Uniform
from lsgm.objectives.weighting import LikelihoodWeighting, Rescaled
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE

T_MIN, BATCH = 1e-2, 64
HEAVY = ("rescaled", "for likelihood")


@pytest.mark.parametrize("name", ["VPSDE", "geometric VPSDE", "sub-VPSDE"])
def test_quadrature_is_the_cross_entropy(name):
    """With the likelihood weight, Eq. (1), LSGM's constant and the KL at t = 1 are
    that of two Gaussians diffused to t_min."""
    sde = variance.SDES[name]
    found = quadrature(sde, LikelihoodWeighting(), T_MIN) / DIMS
    (alpha,), (var,) = (on_host(f, [T_MIN]) for f in (sde.alpha, sde.var))
    ours, theirs = (alpha**2 * v + var for v in (DATA_VAR, MODEL_VAR))
    expected = 0.5 * (np.log(2 * np.pi * theirs) + ours / theirs)
    # Quadratic in z0, so its mean over the data is its value at the deviation.
    left = sde.prior_kl(jnp.full((1, 1), DATA_VAR**0.5))
    found += sde.bound_constant(T_MIN) + float(left[0, 0])
    assert found == pytest.approx(expected, abs=2e-5)


@pytest.fixture(scope="module")
def found():
    """Rows of one process by weighting and times, with draws enough for 5 %."""
    means = {
        times: variance.batch_means(VPSDE(), sampler, 300, BATCH)
        for times, sampler in variance.time_samplers(T_MIN).items()
        if times in ("uniform", "for likelihood", "uniform, stratified")
    }
    return {
        (weighting, times): variance.summary(
            ("VPSDE", weighting, times),
            pairs,
            quadrature(
                VPSDE(),
                variance.WEIGHTINGS.get(weighting, LikelihoodWeighting()),
                T_MIN,
            ),
            variance.estimator_moments(
                VPSDE(), weighting, variance.time_samplers(T_MIN)[times], BATCH
            ),
            BATCH,
        )
        for times, part in means.items()
        for weighting, pairs in part.items()
    }


def test_every_estimator_has_the_mean_of_the_quadrature(found):
    assert len(found) == 3 * 5
    for where, row in found.items():
        assert abs(row.mean - row.exact) < 4.5 * row.standard_error, where
        # Times proposed for one weighting leave another with heavy tails: one draw
        # in thousands has most of the variance.
        if where != HEAVY:
            assert row.standard_error < 0.05 * row.exact, where
            assert row.measured == pytest.approx(row.variance, rel=0.25), where
        assert not row.note


def test_variance_of_heavy_tails_is_exact(found):
    """Here by quadrature over t, not over rho."""
    t = T_MIN + (1 - T_MIN) * (np.arange(400_000) + 0.5) / 400_000
    proposal = Importance(weighting=LikelihoodWeighting(), t_min=T_MIN)

    def integrand(t):
        integral = proposal.weighting.integral(VPSDE())
        assert integral is not None
        low, high = (integral.value(jnp.array([x]))[0] for x in (T_MIN, 1.0))
        density = LikelihoodWeighting()(VPSDE(), t) * VPSDE().normal_error(t)
        density = density / (high - low)
        k = gain(VPSDE(), t, MODEL_VAR)
        own, slope2 = (
            (1 - k * jnp.sqrt(VPSDE().var(t))) ** 2,
            (k * VPSDE().alpha(t)) ** 2,
        )
        w, data = Rescaled()(VPSDE(), t), slope2 * DATA_VAR
        second = (DIMS * (own + data)) ** 2 + 2 * DIMS * (own + data) ** 2
        return jnp.stack([w**2 / density * second, w * (own + data), w * slope2])

    second, mean, slope2 = on_host(integrand, t).mean(1) * (1 - T_MIN)
    expected = second - (DIMS * mean) ** 2 - 2 * DIMS * (slope2 * DATA_VAR) ** 2
    assert found[HEAVY].variance == pytest.approx(expected, rel=1e-3)
    ratio = found[HEAVY].variance / found["rescaled", "uniform"].variance
    assert ratio == pytest.approx(5883, rel=1e-3)


@pytest.mark.parametrize(
    "times",
    [Uniform(t_min=T_MIN), Importance(weighting=LikelihoodWeighting(), t_min=T_MIN)],
)
def test_variance_is_that_of_single_draws(found, times):
    """Given latents and time the error is Gaussian, so its moments are known. Here
    by the midpoint rule in float32."""
    t, density = times.times(VPSDE(), (jnp.arange(20_000.0) + 0.5) / 20_000)
    k = gain(VPSDE(), t, MODEL_VAR)
    # Per dimension it is N(gain alpha z0, (1 - gain sigma)^2).
    weight, slope2, own = (
        np.asarray(value, np.float64)
        for value in (
            LikelihoodWeighting()(VPSDE(), t) / density,
            (k * VPSDE().alpha(t)) ** 2,
            (1 - k * jnp.sqrt(VPSDE().var(t))) ** 2,
        )
    )
    data = slope2 * DATA_VAR
    mean = DIMS * (own + data)
    second = mean**2 + 2 * DIMS * (own + data) ** 2
    total = np.mean(weight**2 * second) - np.mean(weight * mean) ** 2
    of_data = 2 * DIMS * (np.mean(weight * slope2) * DATA_VAR) ** 2
    name = "for likelihood" if isinstance(times, Importance) else "uniform"
    row = found["likelihood", name]
    assert row.variance == pytest.approx(total - of_data, rel=0.01)


def test_importance_and_control_reduce_the_variance(found):
    uniform = found["likelihood", "uniform"].variance
    assert found["likelihood", "for likelihood"].variance < 0.1 * uniform
    assert found["likelihood", "uniform, stratified"].variance < 0.7 * uniform
    for times in ("uniform", "for likelihood"):
        plain = found["likelihood", times].variance
        assert found[variance.CONTROLLED, times].variance < 0.5 * plain


def test_what_is_not_finite_is_marked():
    means = np.ones((5, 2))
    means[3, 1] = np.inf
    known = IntegrandMoments(1.0, 2.0, 3.0)
    row = variance.summary(("VPSDE", "likelihood", "uniform"), means, 1.0, known, BATCH)
    assert row.note == "1 of 5 not finite"
    assert math.isnan(row.mean) and math.isnan(row.variance)
    text = variance.markdown([row], 5, BATCH, T_MIN)
    assert "1 of 5 not finite" in text


def test_proposal_without_density_is_refused():
    sampler = Importance(weighting=Rescaled(), t_min=T_MIN)
    with pytest.raises(ValueError, match="not a density"):
        variance.batch_means(VESDE(var_max=50.0), sampler, 2, BATCH)


def test_a_weight_with_a_pole_is_left_out():
    """1 / (1 - var) where the variance passes one on its way to 50."""
    assert not variance.is_weight(VESDE(var_max=50.0), Rescaled(), T_MIN)
    assert variance.is_weight(VESDE(var_max=50.0), LikelihoodWeighting(), T_MIN)
    assert variance.is_weight(VPSDE(), Rescaled(), T_MIN)


def test_files_hold_the_rows(tmp_path, found):
    rows = [r for r in found.values()]
    text = variance.markdown(rows, 300, BATCH, T_MIN)
    variance.write(rows, text, tmp_path)
    lines = (tmp_path / "variance.csv").read_text().splitlines()
    assert len(lines) == 1 + len(rows)
    assert "| for likelihood |" in (tmp_path / "variance.md").read_text()

"""The variance report against closed forms."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.benchmarks import variance
from lsgm.numerics import on_host
from lsgm.objectives.time_sampling import Importance, Uniform
from lsgm.objectives.weighting import LikelihoodWeighting, Rescaled
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE

T_MIN, DIMS, BATCH = 1e-2, math.prod(variance.Z_SHAPE), 64


@pytest.mark.parametrize("name", ["VPSDE", "geometric VPSDE", "sub-VPSDE"])
def test_quadrature_is_the_cross_entropy(name):
    """With the likelihood weight, Eq. (1), LSGM's constant and the KL at t = 1 are
    that of two Gaussians diffused to t_min."""
    sde = variance.SDES[name]
    found = variance.quadrature(sde, LikelihoodWeighting(), T_MIN) / DIMS
    (alpha,), (var,) = (on_host(f, [T_MIN]) for f in (sde.alpha, sde.var))
    ours, theirs = (alpha**2 * v + var for v in (variance.DATA_VAR, variance.MODEL_VAR))
    expected = 0.5 * (np.log(2 * np.pi * theirs) + ours / theirs)
    # Quadratic in z0, so its mean over the data is its value at the deviation.
    left = sde.prior_kl(jnp.full((1, 1), variance.DATA_VAR**0.5))
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
            variance.quadrature(
                VPSDE(),
                variance.WEIGHTINGS.get(weighting, LikelihoodWeighting()),
                T_MIN,
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
        # Times proposed for one weighting leave another with heavy tails.
        heavy = where == ("rescaled", "for likelihood")
        assert row.standard_error < (0.25 if heavy else 0.05) * row.exact, where
        assert not row.note


@pytest.mark.parametrize(
    "times",
    [Uniform(t_min=T_MIN), Importance(weighting=LikelihoodWeighting(), t_min=T_MIN)],
)
def test_variance_is_that_of_single_draws(found, times):
    """Given latents and time the error is Gaussian, so its moments are known."""
    t, density = times.times(VPSDE(), (jnp.arange(20_000.0) + 0.5) / 20_000)
    gain = variance.gain(VPSDE(), t, variance.MODEL_VAR)
    # Per dimension it is N(gain alpha z0, (1 - gain sigma)^2).
    weight, slope2, own = (
        np.asarray(value, np.float64)
        for value in (
            LikelihoodWeighting()(VPSDE(), t) / density,
            (gain * VPSDE().alpha(t)) ** 2,
            (1 - gain * jnp.sqrt(VPSDE().var(t))) ** 2,
        )
    )
    data = slope2 * variance.DATA_VAR
    mean = DIMS * (own + data)
    second = mean**2 + 2 * DIMS * (own + data) ** 2
    total = np.mean(weight**2 * second) - np.mean(weight * mean) ** 2
    of_data = 2 * DIMS * (np.mean(weight * slope2) * variance.DATA_VAR) ** 2
    name = "for likelihood" if isinstance(times, Importance) else "uniform"
    row = found["likelihood", name]
    assert row.variance == pytest.approx(total - of_data, rel=0.2)


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
    row = variance.summary(("VPSDE", "likelihood", "uniform"), means, 1.0, BATCH)
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

"""Likelihoods: normalisation, moments, draws, and arithmetic at the extremes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsgm.distributions import (
    BernoulliLikelihood,
    LogisticLikelihood,
    LogisticMixtureLikelihood,
    NormalLikelihood,
    log_prob_of_level,
)

GREY = [
    BernoulliLikelihood(),
    LogisticLikelihood(num_bits=8),
    LogisticLikelihood(num_bits=1),
    LogisticMixtureLikelihood(num_bits=8, num_components=3),
    LogisticMixtureLikelihood(num_bits=5, num_components=1),
]
RGB = [
    LogisticLikelihood(num_bits=2),
    LogisticMixtureLikelihood(num_bits=2, num_components=3),
    LogisticMixtureLikelihood(num_bits=3, num_components=2),
]
ALL = [*GREY, *RGB, NormalLikelihood()]


def label(likelihood):
    return f"{type(likelihood).__name__}-{likelihood.num_bits}"


def raw(likelihood, channels, size=1, seed=0, scale=1.0):
    """Raw decoder outputs [1 1 size p]."""
    shape = (1, 1, size, likelihood.num_outputs(channels))
    return scale * jax.random.normal(jax.random.key(seed), shape)


def grid(likelihood, channels):
    """Every value that a pixel can take, [1 1 levels^channels channels]."""
    levels = 2 * np.arange(likelihood.max_level + 1) / likelihood.max_level - 1
    points = np.array(list(itertools.product(levels, repeat=channels)))
    return jnp.asarray(points[None, None], jnp.float32)


def log_probs(likelihood, out, x):
    """Of every point of a grid, under one pixel's outputs."""
    tiled = jnp.broadcast_to(out, (*x.shape[:3], out.shape[-1]))
    return jax.jit(lambda o, x: likelihood.distribution(o).log_prob(x))(tiled, x)[0, 0]


@pytest.mark.parametrize(
    ("likelihood", "channels"),
    [(g, 1) for g in GREY] + [(r, 3) for r in RGB],
    ids=lambda value: label(value) if not isinstance(value, int) else str(value),
)
def test_probabilities_sum_to_one(likelihood, channels):
    x = grid(likelihood, channels)
    for seed in range(3):
        out = raw(likelihood, channels, seed=seed, scale=2.0)
        total = jax.nn.logsumexp(log_probs(likelihood, out, x))
        np.testing.assert_allclose(total, 0.0, atol=5e-6)


@settings(max_examples=30, deadline=None)
@given(
    loc=st.floats(-3, 3, width=32),
    log_scale=st.floats(-12, 12, width=32),
    bits=st.integers(1, 8),
)
def test_logistic_sums_to_one_at_any_scale(loc, log_scale, bits):
    likelihood = LogisticLikelihood(num_bits=bits)
    out = jnp.array([[[[loc, log_scale]]]], jnp.float32)
    log_p = likelihood.distribution(out).log_prob(grid(likelihood, 1)[:, :, :1])
    assert jnp.all(log_p <= 0)
    total = jax.nn.logsumexp(log_probs(likelihood, out, grid(likelihood, 1)))
    np.testing.assert_allclose(total, 0.0, atol=2e-5)


@settings(max_examples=30, deadline=None)
@given(middle=st.floats(-30, 30), log_scale=st.floats(-7, 3))
def test_eq_5_is_the_difference_of_sigmoids_in_64_bits(middle, log_scale):
    """With numbers that keep enough digits in the difference."""
    scale, level = np.exp(log_scale), 5 / 255
    loc = level - middle * scale
    bounds = (middle + np.array([1, -1]) / (255 * scale)).clip(-36, None)
    # S(a) - S(b) = S(-b) - S(-a): subtract where both are small.
    upper, lower = sorted(bounds if middle < 0 else -bounds, reverse=True)
    sigmoid = 1 / (1 + np.exp(-np.array([upper, lower])))
    expected = np.log(sigmoid[0] - sigmoid[1])
    with jax.enable_x64(True):
        args = (jnp.array(v, jnp.float64) for v in (level, loc, log_scale))
        actual = log_prob_of_level(*args, max_level=255)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-9)


def test_published_form_differs_only_below_its_threshold():
    exact = LogisticLikelihood()
    published = LogisticLikelihood(reference_compatible=True)
    out = jnp.array([[[[0.1, -7.0]]]])
    x = grid(exact, 1)
    a, b = log_probs(exact, out, x), log_probs(published, out, x)
    rare = np.asarray(a < np.log(1e-5)) & np.asarray(jnp.abs(x[0, 0, :, 0]) < 0.999)
    np.testing.assert_array_equal(a[~rare], b[~rare])
    # Far out p = S(a+) - S(a-) = exp(-|a|) 2 sinh(d / 2), published exp(-|a|) d.
    d = 2 / 255 * np.exp(7.0)
    gap = np.log(2 * np.sinh(d / 2) / d)
    np.testing.assert_allclose((a - b)[rare], gap, rtol=1e-3)


def test_bernoulli_matches_its_definition():
    logits = raw(BernoulliLikelihood(), 2, size=50, scale=3.0)
    distribution = BernoulliLikelihood().distribution(logits)
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    ones = jnp.ones_like(logits)
    np.testing.assert_allclose(distribution.log_prob(ones), np.log(p).sum(-1), 1e-5)
    np.testing.assert_allclose(distribution.log_prob(-ones), np.log1p(-p).sum(-1), 1e-5)
    np.testing.assert_allclose(distribution.mean(), 2 * p - 1, atol=1e-6)


def test_normal_density_integrates_to_one():
    out = raw(NormalLikelihood(), 1, seed=3)
    edges = np.linspace(-40, 40, 20001)
    x = jnp.asarray(edges[None, None, :, None], jnp.float32)
    total = np.trapezoid(np.exp(log_probs(NormalLikelihood(), out, x)), edges)
    np.testing.assert_allclose(total, 1.0, rtol=1e-4)


def test_colours_condition_on_earlier_ones():
    """Eq. (3): one component of narrow scale around means shifted by a_0, a_1, a_2."""
    likelihood = LogisticMixtureLikelihood(num_components=1)
    means, coeffs = np.array([0.2, 0.1, -0.3]), np.array([0.5, -0.4, 0.3])
    fields = np.stack([means, np.full(3, -5.0), np.arctanh(coeffs)], axis=1)
    out = np.concatenate([[0.0], fields.ravel()])[None, None, None]
    distribution = likelihood.distribution(jnp.asarray(out, jnp.float32))
    red = 0.2
    green = 0.1 + 0.5 * red
    expected = [red, green, -0.3 - 0.4 * red + 0.3 * green]
    np.testing.assert_allclose(distribution.mean()[0, 0, 0], expected, rtol=1e-6)
    x = jnp.round(255 * (distribution.mean() + 1) / 2) / 255 * 2 - 1
    best = distribution.log_prob(x)[0, 0, 0]
    for colour in range(3):
        moved = x.at[..., colour].add(24 / 255)
        assert distribution.log_prob(moved)[0, 0, 0] < best - 3
    # 20 levels of red drag green along by 0.5 * 20 = 10, and with it blue by
    # -0.4 * 20 + 0.3 * 10 = -5: nobody but red has become less likely.
    shift = 2 / 255 * jnp.array([20.0, 10.0, -5.0])[None, None, None]
    alone = LogisticLikelihood().distribution(jnp.array([[[[0.2, -5.0]]]]))
    red_moved = alone.log_prob(x[..., :1] + shift[..., :1])
    red_moved -= alone.log_prob(x[..., :1])
    dragged = distribution.log_prob(x + shift)[0, 0, 0]
    np.testing.assert_allclose(dragged - best, red_moved[0, 0, 0], rtol=1e-3)


@pytest.mark.parametrize("likelihood", GREY, ids=label)
def test_samples_have_the_stated_frequencies(likelihood):
    """Largest gap of the empirical distribution function, 4 sigma of Kolmogorov."""
    num, x = 20000, grid(likelihood, 1)
    out = raw(likelihood, 1, seed=5)
    tiled = jnp.broadcast_to(out, (1, 1, num, out.shape[-1]))
    drawn = jax.jit(lambda o, k: likelihood.distribution(o).sample(k))(
        tiled, jax.random.key(1)
    )
    level = np.rint((drawn[0, 0, :, 0] + 1) / 2 * likelihood.max_level).astype(int)
    on_grid = jnp.take(x[0, 0, :, 0], level)
    np.testing.assert_allclose(drawn[0, 0, :, 0], on_grid, atol=1e-6)
    frequency = np.bincount(level, minlength=x.shape[2]) / num
    cdf = np.exp(log_probs(likelihood, out, x)).cumsum()
    assert np.abs(frequency.cumsum() - cdf).max() < 2 / np.sqrt(num)


def test_colour_samples_have_the_stated_frequencies():
    likelihood, num = LogisticMixtureLikelihood(num_bits=1, num_components=2), 20000
    out = raw(likelihood, 3, seed=2)
    x = grid(likelihood, 3)
    tiled = jnp.broadcast_to(out, (1, 1, num, out.shape[-1]))
    drawn = likelihood.distribution(tiled).sample(jax.random.key(3))[0, 0]
    bits = np.rint((drawn + 1) / 2).astype(int)
    frequency = np.bincount(bits @ np.array([4, 2, 1]), minlength=8) / num
    p = np.exp(log_probs(likelihood, out, x))
    np.testing.assert_allclose(frequency, p, atol=4 * 0.5 / np.sqrt(num))


@pytest.mark.parametrize(
    "likelihood",
    [BernoulliLikelihood(), LogisticLikelihood(num_bits=6), NormalLikelihood()],
    ids=label,
)
def test_mean_is_the_mean_of_samples(likelihood):
    """Narrow inner logistics, so that the outermost levels hold nothing."""
    offset = jnp.array([0.3, -3.0][: likelihood.num_outputs(1)])
    out = jnp.broadcast_to(offset, (1, 1, 40000, offset.size))
    distribution = likelihood.distribution(out)
    drawn = distribution.sample(jax.random.key(0))
    error = 4 * drawn.std() / np.sqrt(drawn.size)
    np.testing.assert_allclose(
        drawn.mean(), distribution.mean()[0, 0, 0, 0], atol=error
    )


def test_grey_mixture_mean_is_the_weighted_mean():
    likelihood = LogisticMixtureLikelihood(num_bits=8, num_components=2)
    out = jnp.array([[[[0.0, np.log(3.0), -0.4, 0.4, -5.0, -4.0]]]], jnp.float32)
    mean = likelihood.distribution(out).mean()[0, 0, 0, 0]
    np.testing.assert_allclose(mean, 0.25 * -0.4 + 0.75 * 0.4, rtol=1e-6)
    x = grid(likelihood, 1)
    expected = jnp.sum(jnp.exp(log_probs(likelihood, out, x)) * x[0, 0, :, 0])
    np.testing.assert_allclose(mean, expected, atol=2e-4)


@pytest.mark.parametrize("likelihood", ALL, ids=label)
def test_values_and_gradients_are_finite_at_extremes(likelihood):
    channels = 3 if likelihood in RGB else 1

    @jax.jit
    @jax.value_and_grad
    def loss(out, x):
        return likelihood.distribution(out).log_prob(x).sum()

    for size in (0.0, 1e2, 1e6):
        out = raw(likelihood, channels, size=64, scale=size)
        for start in (-1.0, 1.0):
            x = jnp.linspace(start, -start, 64 * channels).reshape(1, 1, 64, channels)
            value, gradient = loss(out, x)
            assert jnp.isfinite(value)
            assert jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize("likelihood", [GREY[0], RGB[1]], ids=label)
def test_half_precision_outputs_are_read_in_fp32(likelihood):
    channels = 3 if likelihood in RGB else 1
    out = raw(likelihood, channels, size=4).astype(jnp.bfloat16)
    x = jnp.ones((1, 1, 4, channels))
    log_p = likelihood.distribution(out).log_prob(x)
    assert log_p.dtype == jnp.float32
    exact = likelihood.distribution(out.astype(jnp.float32)).log_prob(x)
    np.testing.assert_array_equal(log_p, exact)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="num_bits = 9: allowed are 1 to 8"):
        LogisticLikelihood(num_bits=9)
    with pytest.raises(ValueError, match="num_components = 0"):
        LogisticMixtureLikelihood(num_components=0)
    with pytest.raises(ValueError, match="2 channels; allowed are 1"):
        LogisticMixtureLikelihood().num_outputs(2)
    assert LogisticMixtureLikelihood().num_outputs(3) == 100

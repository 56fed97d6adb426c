"""Likelihoods, KL coefficient and balancing, bit depth: the published numbers."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import numerics
from lsgm.data.draws import Draws
from lsgm.data.transforms import ReduceBits
from lsgm.distributions import (
    BernoulliLikelihood,
    LogisticLikelihood,
    LogisticMixtureLikelihood,
)
from lsgm.objectives import kl_balance
from tests.golden.files import fixtures_with

MIXTURES = fixtures_with("dml*/logits")
# The published code subtracts two fp32 sigmoids (rounding 6e-8 each) down to a
# difference of 1e-5: that is the noise of its logarithm, per colour and pixel.
CANCELLATION = 1.2e-7 / 1e-5
GROWTH = {"equal": 1.0, "sqrt": 2**0.5, "linear": 2.0, "square": 4.0}


def nhwc(array):
    return jnp.asarray(np.moveaxis(array, 1, -1))


def load(path):
    with np.load(path) as arrays:
        return dict(arrays)


def names(path, pattern):
    """Groups of the pattern, once for each different match in the file."""
    found = (re.match(pattern, key) for key in load(path))
    return sorted({m.groups() for m in found if m})


def close_sum(actual, stored):
    """README: log-probability sums per image to 1e-5."""
    axes = tuple(range(1, stored.ndim))
    np.testing.assert_allclose(actual.sum(axes), stored.sum(axes), rtol=1e-5)


def close_mean(actual, stored):
    np.testing.assert_allclose(actual, stored, atol=2e-5 * np.abs(stored).max())


@pytest.mark.parametrize("path", fixtures_with("bin/log_p"))
def test_bernoulli(path):
    z = load(path)
    distribution = BernoulliLikelihood().distribution(nhwc(z["bin/logits"]))
    log_p = distribution.log_prob(nhwc(z["bin/x"]))
    expected = z["bin/log_p"].sum(1)
    np.testing.assert_allclose(log_p, expected, rtol=1e-5, atol=1e-6)
    close_mean(distribution.mean(), nhwc(z["bin/mean"]))


@pytest.mark.parametrize("path", fixtures_with("dl/log_p"))
def test_discretised_logistic(path):
    z = load(path)
    likelihood = LogisticLikelihood(reference_compatible=True)
    distribution = likelihood.distribution(nhwc(z["dl/param"]))
    log_p = distribution.log_prob(nhwc(z["dl/x"]))
    stored = z["dl/log_p"].sum(1)
    np.testing.assert_allclose(log_p, stored, rtol=1e-5, atol=3 * CANCELLATION)
    close_sum(log_p, stored)


@pytest.mark.parametrize("path", MIXTURES)
def test_logistic_mixture(path):
    z = load(path)
    for (bits,) in names(path, r"dml(\d)/logits"):
        likelihood = LogisticMixtureLikelihood(
            num_bits=int(bits), reference_compatible=True
        )
        distribution = likelihood.distribution(nhwc(z[f"dml{bits}/logits"]))
        stored = z[f"dml{bits}/log_p"]
        log_p = distribution.log_prob(nhwc(z[f"dml{bits}/x"]))
        np.testing.assert_allclose(log_p, stored, rtol=1e-5, atol=3 * CANCELLATION)
        close_sum(log_p, stored)
        close_mean(distribution.mean(), nhwc(z[f"dml{bits}/mean"]))


@pytest.mark.parametrize("path", MIXTURES)
def test_logistic_mixture_sample(path):
    z = load(path)
    for bits, temperature in names(path, r"dml(\d)/sample_t([\d.]+)"):
        likelihood = LogisticMixtureLikelihood(
            num_bits=int(bits), reference_compatible=True
        )
        distribution = likelihood.distribution(nhwc(z[f"dml{bits}/logits"]))
        u = nhwc(z[f"dml{bits}/sample_u_logistic"])
        drawn = distribution.sample_from(
            -jnp.log(-jnp.log(nhwc(z[f"dml{bits}/sample_u_gumbel"]))),
            jnp.log(u) - jnp.log(1 - u),
            float(temperature),
        )
        close_mean(drawn, nhwc(z[f"dml{bits}/sample_t{temperature}"]))


@pytest.mark.parametrize("path", fixtures_with("kl_balancer_coeff/*"))
def test_group_weights(path):
    z = load(path)
    pattern = r"kl_balancer_coeff/(\w+)/scales(\d+)_groups(\d+)"
    for rule, scales, groups in names(path, pattern):
        stored = z[f"kl_balancer_coeff/{rule}/scales{scales}_groups{groups}"]
        weights = kl_balance.group_weights(
            (int(groups),) * int(scales), growth=GROWTH[rule]
        )
        np.testing.assert_allclose(weights, stored, rtol=1e-6)


@pytest.mark.parametrize("path", fixtures_with("kl_coeff/*"))
def test_kl_coefficient(path):
    z = load(path)
    pattern = r"kl_coeff/total([\d.]+)_const([\d.]+)_min([\d.]+)_max([\d.]+)"
    steps = jnp.asarray(z["kl_coeff/step"]).astype(jnp.int32)
    for match in names(path, pattern):
        total, const, low, high = match
        schedule = kl_balance.KLSchedule(
            anneal_steps=float(total),
            const_steps=float(const),
            coeff_min=float(low),
            coeff_max=float(high),
        )
        stored = z[f"kl_coeff/total{total}_const{const}_min{low}_max{high}"]
        np.testing.assert_allclose([schedule(s) for s in steps], stored, rtol=1e-5)


@pytest.mark.parametrize("path", fixtures_with("change_bit_length/*"))
def test_bit_depth(path):
    z = load(path)
    images = np.round(255 * z["change_bit_length/in"]).astype(np.uint8)
    images, draws = images.reshape(1, 1, -1, 1), Draws(seed=0, start=0, count=1)
    for (bits,) in names(path, r"change_bit_length/(\d)$"):
        levels = ReduceBits(num_bits=int(bits))(images, draws)
        stored = z[f"change_bit_length/{bits}"]
        np.testing.assert_allclose(
            levels.ravel() / (2 ** int(bits) - 1), stored, rtol=1e-6
        )


@pytest.mark.parametrize("path", fixtures_with("soft_clamp/*"))
def test_soft_clamp(path):
    z = load(path)
    for prefix, limit in names(path, r"soft_clamp/(a?)([\d.]+)$"):
        clamped = numerics.soft_clamp(jnp.asarray(z["soft_clamp/in"]), float(limit))
        np.testing.assert_allclose(clamped, z[f"soft_clamp/{prefix}{limit}"], rtol=1e-5)

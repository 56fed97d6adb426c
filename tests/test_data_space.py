"""A prior on the data itself: bounds on probabilities of levels, and densities."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lsgm import elbo
from lsgm.config import ConfigError
from lsgm.data_space import (
    ContinuousLikelihood,
    DequantisationLikelihood,
    RoundingLikelihood,
)
from lsgm.distributions import LogisticLikelihood
from lsgm.model import LatentModel
from lsgm.priors.normal import StandardNormal
from lsgm.vae import IdentityVAE
from tests.marks import first_fast


def levels_vae(num_bits):
    likelihood = DequantisationLikelihood(num_bits=num_bits)
    return IdentityVAE(data_shape=(1, 1, 1), likelihood=likelihood)


def nelbo(vae, batch, key=0):
    model = LatentModel(vae=vae, prior=StandardNormal())
    params, mutables = model.init(jax.random.key(0))
    x = vae.preprocess(batch)
    draws = elbo.draw(model, jax.random.key(key), len(x))
    return elbo.bound(model, params, mutables, x, draws).nelbo


@pytest.mark.parametrize("num_bits", [1, 3, 8])
def test_bound_on_levels_is_its_closed_form(num_bits):
    """-log P(x) <= E -log N(z; 0, 1) - log w, z uniform in the bin of x."""
    top = 2**num_bits - 1
    width, num = 2 / top, 20_000
    for level in (0, top // 2, top):
        batch = {"levels": jnp.full((num, 1, 1, 1), level, jnp.uint8)}
        found = np.asarray(nelbo(levels_vae(num_bits), batch))
        middle = 2 * level / top - 1
        mean2 = middle**2 + width**2 / 12
        expected = 0.5 * (mean2 + math.log(2 * math.pi)) - math.log(width)
        error = found.std() / math.sqrt(num)
        assert abs(found.mean() - expected) < 4 * error + 1e-5
        # And above what the prior itself gives the bin.
        ends = middle + np.array([-0.5, 0.5]) * width
        exact = -math.log(np.diff(stats.norm.cdf(ends))[0])
        assert exact <= expected + 1e-6
    if num_bits == 8:  # The Normal density is all but constant within a bin.
        assert expected - exact < 1e-4


@pytest.mark.parametrize("num_bits", first_fast([8, 1, 2, 3, 4, 5, 6, 7]))
def test_levels_survive_the_round_trip(num_bits):
    """Noise leaves each level in its own bin, whose middle comes back."""
    vae = levels_vae(num_bits)
    levels = jnp.tile(jnp.arange(2**num_bits, dtype=jnp.uint8), 8)[:, None, None, None]
    x = vae.preprocess({"levels": levels})
    noise = vae.draw(jax.random.split(jax.random.key(1), len(x)))
    params, mutables = vae.init(jax.random.key(0))
    inferred = vae.infer(params, mutables, x, noise, train=False)
    assert np.abs(np.asarray(inferred.z[0] - x)).max() > 0.2 / 2**num_bits
    decoded = vae.generate(params, mutables, inferred.z)
    np.testing.assert_allclose(decoded.mean(), x, atol=1e-6)
    assert not np.asarray(decoded.log_prob(x)).any()
    other = vae.preprocess({"levels": levels ^ 1})
    # But for rounding where noise is next to the edge of a bin.
    assert np.mean(np.asarray(decoded.log_prob(other)) == -np.inf) > 0.99


def test_bound_on_points_is_their_negative_log_density():
    vae = IdentityVAE(data_shape=(1, 1, 2), likelihood=ContinuousLikelihood())
    x = np.random.default_rng(0).normal(size=(50, 1, 1, 2)).astype(np.float32)
    expected = -stats.norm.logpdf(x).sum((1, 2, 3))
    np.testing.assert_allclose(nelbo(vae, {"x": x}), expected, rtol=1e-5)


def test_the_identity_has_no_parameters_and_nothing_to_choose():
    vae = levels_vae(8)
    assert not jax.tree.leaves(vae.init(jax.random.key(0)))
    with pytest.raises(ValueError, match="DequantisationLikelihood, Continuous"):
        IdentityVAE(data_shape=(4, 4, 1), likelihood=LogisticLikelihood())


def test_levels_without_noise_stay_where_they_are_and_are_shown_as_levels():
    likelihood = RoundingLikelihood(num_bits=8)
    vae = IdentityVAE(data_shape=(1, 1, 1), likelihood=likelihood)
    levels = jnp.arange(256, dtype=jnp.uint8)[:, None, None, None]
    x = vae.preprocess({"levels": levels})
    params, mutables = vae.init(jax.random.key(0))
    noise = vae.draw(jax.random.split(jax.random.key(1), len(x)))
    z0 = vae.encode(params, mutables, x, noise).z0
    np.testing.assert_array_equal(z0, x)
    shown = vae.likelihood.shown(vae.generate(params, mutables, (z0 + 3e-3,)).mean())
    np.testing.assert_allclose(shown[:, 0, 0, 0], np.arange(256) / 255, atol=1e-6)


def test_a_prior_with_a_bound_refuses_levels_without_noise():
    vae = IdentityVAE(data_shape=(1, 1, 1), likelihood=RoundingLikelihood())
    with pytest.raises(ConfigError, match="vae.likelihood.*adds no noise"):
        LatentModel(vae=vae, prior=StandardNormal())

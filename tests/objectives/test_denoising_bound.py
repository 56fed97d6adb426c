"""The bound for a generator with noise in its last step, on Normal data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import numerics
from lsgm.objectives.denoising_bound import (
    BoundDraws,
    best_last_var,
    level_weights,
    neg_log_prob_bound,
)
from lsgm.sdes.chain import Chain

NUM, DATA_VAR = 4000, 0.5
CHAIN = Chain(num_steps=4)


def draws(num_latents, chain=CHAIN, seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    shape = (chain.num_steps, NUM, 1)
    return BoundDraws(
        jax.random.normal(keys[0], shape),
        jax.random.normal(keys[1], shape),
        jax.random.normal(keys[2], (chain.num_steps, num_latents, NUM, 1)),
    )


def conditional(level):
    """Slope and variance of x_0 given x_k, for data N(0, 0.5)."""
    abar = jnp.asarray(CHAIN.table.abar, jnp.float32)[level - 1]
    total = abar * DATA_VAR + 1 - abar
    return jnp.sqrt(abar) * DATA_VAR / total, DATA_VAR * (1 - abar) / total


def mean_guess(x, level, z):
    """The conditional mean; the latent counts for nothing."""
    del z
    return numerics.expand_to(conditional(level)[0], x) * x


def random_guess(x, level, z):
    """A draw of x_0 given x_k: the true denoising distribution."""
    slope, var = (numerics.expand_to(v, x) for v in conditional(level))
    return slope * x + jnp.sqrt(var) * z


@pytest.fixture
def x0():
    return jnp.sqrt(DATA_VAR) * jax.random.normal(jax.random.key(9), (NUM, 1))


def bound(denoise, x0, num_latents, last_var, chain=CHAIN):
    run = jax.jit(lambda x0, own: neg_log_prob_bound(chain, denoise, x0, own, last_var))
    values = np.asarray(run(x0, draws(num_latents, chain)))
    return values.mean(), values.std() / NUM**0.5


def entropy():
    """Of the data: no model's -log p is less on average."""
    return 0.5 * np.log(2 * np.pi * np.e * DATA_VAR)


def test_weights_are_the_published():
    # 0.521745 * 0.849206 / (2 * 0.921324 * 0.478255), and so on, from the tables.
    expected = [0.502769, 0.040977, 0.001699]
    np.testing.assert_allclose(level_weights(CHAIN), expected, atol=1e-6)


def test_without_a_latent_it_is_the_closed_form(x0):
    """A Gaussian diffusion of T steps: its terms are quadratic in x_0."""
    last_var = jnp.float32(conditional(jnp.array(1))[1])
    _, var = conditional(jnp.array([2, 3, 4]))
    abar = CHAIN.table.abar[-1]
    kl = 0.5 * (abar * DATA_VAR - abar - np.log1p(-abar))
    expected = 0.5 * (1 + np.log(2 * np.pi * last_var)) + kl
    expected += np.sum(level_weights(CHAIN) * np.asarray(var))
    found, error = bound(mean_guess, x0, 1, last_var)
    assert abs(found - expected) < 4 * error
    assert found > entropy() - 4 * error
    np.testing.assert_allclose(
        best_last_var(CHAIN, mean_guess, x0, draws(1)), last_var, rtol=0.1
    )


def test_more_draws_tighten_it_and_it_stays_a_bound(x0):
    """Of the true denoising distribution, which Jensen makes loose at one draw."""
    last_var = jnp.float32(0.02)
    found = [bound(random_guess, x0, num, last_var) for num in (1, 4, 64)]
    (one, _), (few, _), (many, error) = found
    assert one > few + 0.05 > many + 0.1
    assert many > entropy() - 4 * error
    # What is left is the noise of the last step, and of 64 draws.
    assert many < entropy() + 0.15


def test_one_draw_needs_no_noise_of_the_step(x0):
    """Its mean is that of many draws that agree."""

    def same(x, level, z):
        return mean_guess(x, level, z)

    one, error = bound(same, x0, 1, jnp.float32(0.3))
    two, other = bound(same, x0, 2, jnp.float32(0.3))
    assert abs(one - two) < 4 * np.hypot(error, other)

"""Losses of two players: closed forms, and what the lazy penalty stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.objectives.adversarial import (
    LazyR1,
    discriminator_loss,
    generator_loss,
    squared_gradient,
)

STEPS = [jnp.int32(k) for k in range(10)]


def test_the_best_discriminator_finds_the_jensen_shannon_divergence():
    """At D = log(p / q), E_p and E_q of the loss give 2 log 2 - 2 JS."""
    p, q = jnp.array([0.7, 0.2, 0.1]), jnp.array([0.2, 0.5, 0.3])
    logits = jnp.log(p / q)
    real = discriminator_loss(logits, jnp.full(3, -jnp.inf))
    fake = discriminator_loss(jnp.full(3, jnp.inf), logits)
    middle = (p + q) / 2
    js = 0.5 * jnp.sum(p * jnp.log(p / middle) + q * jnp.log(q / middle))
    found = jnp.sum(p * real) + jnp.sum(q * fake)
    np.testing.assert_allclose(found, 2 * jnp.log(2.0) - 2 * js, rtol=1e-5)


def test_the_generator_s_gradient_does_not_vanish_where_it_loses():
    logits = jnp.array([-30.0, 0.0, 30.0])
    slopes = jax.vmap(jax.grad(lambda v: generator_loss(v[None])[0]))(logits)
    np.testing.assert_allclose(slopes, [-1, -0.5, 0], atol=1e-6)


@pytest.fixture
def linear():
    """D(x) = a . x, its examples, and |a|^2."""
    a = jnp.arange(1.0, 7.0).reshape(1, 1, 2, 3)
    return lambda x: jnp.sum(a * x, (1, 2, 3)), jnp.ones((4, 1, 2, 3)), 91.0


def test_penalty_of_a_linear_discriminator(linear):
    critic, x, square = linear
    np.testing.assert_allclose(squared_gradient(critic, x), square)
    found = LazyR1(gamma=0.1)(critic, x, jnp.int32(3))
    np.testing.assert_allclose(found, np.full(4, 0.05 * square), rtol=1e-6)


def test_lazy_penalty_is_the_same_on_average(linear):
    """At steps 0, r, 2 r with the factor r, nothing between."""
    critic, x, square = linear
    lazy = LazyR1(gamma=0.1, every=5)
    found = jnp.stack([jax.jit(lazy, static_argnums=0)(critic, x, k) for k in STEPS])
    assert (found[jnp.array([1, 2, 3, 4, 6, 7, 8, 9])] == 0).all()
    np.testing.assert_allclose(found.mean(0), 0.05 * square, rtol=1e-6)


def test_penalty_is_differentiable_in_the_discriminator():
    """d/da of (gamma / 2) |a|^2 is gamma a."""

    def loss(a):
        r1 = LazyR1(gamma=0.3, every=2)
        return jnp.mean(
            r1(lambda x: jnp.sum(a * x, -1), jnp.ones((2, 3)), jnp.int32(4))
        )

    a = jnp.array([[1.0, -2.0, 0.5]])
    np.testing.assert_allclose(jax.grad(loss)(a), 2 * 0.3 * a, rtol=1e-6)


@pytest.mark.parametrize("fields", [dict(gamma=-1.0), dict(gamma=1.0, every=0)])
def test_impossible_penalties_are_refused(fields):
    with pytest.raises(ValueError, match="must be >="):
        LazyR1(**fields)

"""Annealing and balancing of the KL: closed values, invariances, devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from lsgm.objectives.kl_balance import KLSchedule, balance, group_weights


def coeffs(schedule, *steps):
    return np.array([schedule(jnp.int32(step)) for step in steps])


def test_coefficient_rises_linearly_between_its_ends():
    """Eq. (1)."""
    schedule = KLSchedule(
        coeff_min=0.2, coeff_max=0.7, const_steps=100, anneal_steps=300
    )
    np.testing.assert_allclose(
        coeffs(schedule, 0, 100, 250, 400, 10**6),
        [0.2, 0.2, 0.45, 0.7, 0.7],
        rtol=1e-6,
    )


def test_coefficient_is_one_unless_told():
    np.testing.assert_array_equal(coeffs(KLSchedule(), 0, 1, 10**6), 1.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(coeff_min=0.7, coeff_max=0.5), "coeff_min = 0.7: allowed are 0 to"),
        (dict(coeff_min=-0.1), "coeff_min = -0.1"),
        (dict(anneal_steps=0), "anneal_steps = 0: must be positive"),
        (dict(const_steps=-1), "const_steps = -1: must be >= 0"),
    ],
)
def test_bad_schedules_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        KLSchedule(**fields)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ((20,), [1] * 20),
        ((8, 8, 8), [1] * 8 + [4] * 8 + [16] * 8),
        ((10, 10), [1] * 10 + [4] * 10),
        # 1/1, 4/2, 16/4: each scale's groups share what its maps have.
        ((1, 2, 4), [1] + [2] * 2 + [4] * 4),
        # 1/8, 4/1 in units of the smallest.
        ((8, 1), [1] * 8 + [32]),
    ],
)
def test_weights_by_scale(groups, expected):
    np.testing.assert_allclose(group_weights(groups), expected, rtol=1e-6)


def kl_of(*means):
    """One-sample KLs [groups 4] of both signs with these means of |KL|."""
    signs = np.array([1.5, -0.5, 1.0, -1.0])
    return jnp.asarray(np.array(means)[:, None] * signs, jnp.float32)


HALF = jnp.float32(0.5)


def test_gammas_follow_size_over_weight():
    """Eqs. (2) and (3), by hand: s / a = 10 and 8 / 4 = 2 with mean 6."""
    gammas = balance(kl_of(10 - 0.01, 8 - 0.01), HALF, jnp.array([1.0, 4.0]))
    np.testing.assert_allclose(gammas, [10 / 6, 2 / 6], rtol=1e-5)


def test_gammas_average_to_one_and_forget_a_common_factor():
    kl = jax.random.normal(jax.random.key(0), (5, 8)) * 100
    weights = group_weights((2, 3))
    gammas = balance(kl, HALF, weights)
    np.testing.assert_allclose(gammas.mean(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(balance(kl, HALF, 7 * weights), gammas, rtol=1e-5)
    np.testing.assert_allclose(balance(-kl, HALF, weights), gammas, rtol=1e-6)


def test_an_idle_group_keeps_a_share():
    """The 0.01 nats of Eq. (2)."""
    gammas = balance(kl_of(0.0, 0.98), HALF, jnp.ones(2))
    np.testing.assert_allclose(gammas, [0.02, 1.98], rtol=1e-4)


@pytest.mark.parametrize("coeff", [1.0, 1.5])
def test_no_balancing_from_coefficient_one_on(coeff):
    gammas = balance(kl_of(1.0, 9.0), jnp.float32(coeff), jnp.ones(2))
    np.testing.assert_array_equal(gammas, 1.0)


def test_gammas_are_constants_to_the_gradient():
    """d/dKL of sum gamma KL is gamma itself."""
    kl = kl_of(1.0, 9.0)

    def total(kl):
        return jnp.sum(balance(kl, HALF, jnp.ones(2))[:, None] * kl)

    gammas = balance(kl, HALF, jnp.ones(2))
    expected = jnp.broadcast_to(gammas[:, None], kl.shape)
    np.testing.assert_allclose(jax.grad(total)(kl), expected, rtol=1e-6)


def test_the_mean_is_over_devices_too():
    kl = jax.random.normal(jax.random.key(1), (3, 4)) * jnp.arange(4.0)[None]
    mapped = jax.shard_map(
        lambda kl: balance(kl, HALF, jnp.ones(3), axis="batch"),
        mesh=jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,)),
        in_specs=P(None, "batch"),
        out_specs=P(),
    )
    gammas = jax.jit(mapped)(kl)
    np.testing.assert_allclose(gammas, balance(kl, HALF, jnp.ones(3)), rtol=1e-6)

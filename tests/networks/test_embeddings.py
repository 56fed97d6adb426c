"""Time features: their equations, their range of times, and what is not trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.networks.embeddings import Fourier, Positional

T = np.array([0.0, 1e-5, 0.3, 1.0], np.float32)


def test_positional_features_are_eq_1():
    t = T.astype(np.float64)
    omega = 10_000.0 ** (-np.arange(64) / 63)
    angle = 1000 * t[:, None] * omega
    expected = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    # One float32 step of a phase of 1000 is 6e-5.
    np.testing.assert_allclose(
        Positional().apply({}, jnp.asarray(T)), expected, atol=2e-4
    )


def test_slowest_frequency_does_not_wrap_over_the_unit_interval():
    t = jnp.linspace(0, 1, 5)
    slowest = Positional(dim=8, scale=1000.0).apply({}, t)[:, 3]
    np.testing.assert_allclose(slowest, np.sin(0.1 * np.asarray(t)), rtol=1e-5)


@pytest.mark.parametrize("log_time", [False, True])
def test_fourier_features_are_eq_2(log_time):
    t = T[1:]
    module = Fourier(dim=6, scale=4.0, log_time=log_time)
    frequencies = np.array([0.5, -1.0, 2.0], np.float32)
    ours = module.apply(
        {"params": {"frequencies": jnp.asarray(frequencies)}}, jnp.asarray(t)
    )
    tau = np.log(t) if log_time else t
    angle = 2 * np.pi * tau[:, None] * frequencies
    expected = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_fourier_frequencies_have_the_scale_and_no_gradient():
    module = Fourier(dim=4096, scale=16.0)
    t = jnp.full((1,), 0.3)
    params = module.init(jax.random.key(0), t)["params"]
    assert jnp.std(params["frequencies"]) == pytest.approx(16, rel=0.05)
    gradient = jax.grad(lambda p: module.apply({"params": p}, t).sum())(params)
    assert not jnp.any(gradient["frequencies"])


@pytest.mark.parametrize("module", [Positional, Fourier])
def test_odd_number_of_features_is_refused(module):
    with pytest.raises(ValueError, match="dim = 7"):
        module(dim=7)

"""Timing with a clock under our control, and with a real compiled sampler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.evaluation import timing
from lsgm.priors.base import LatentSamples


class _Clock:
    """Stands still but for what calls add to it."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(timing.time, "perf_counter", clock.perf_counter)
    return clock


def test_first_call_stands_apart_and_the_median_counts(clock):
    durations = [9.0, 1.0, 50.0, 2.0]

    def call(i):
        clock.now += durations[i]
        return i

    found, results = timing.time_calls(call, 3)
    assert found == timing.Timing(9.0, (1.0, 50.0, 2.0))
    assert found.median == 2.0
    assert results == [1, 2, 3]


def test_waits_for_the_result(clock, monkeypatch):
    """Time that passes while blocking on the result is the call's."""

    def block(value):
        clock.now += 3.0
        return value

    monkeypatch.setattr(timing.jax, "block_until_ready", block)
    assert timing.time_calls(lambda i: i, 2)[0] == timing.Timing(3.0, (3.0, 3.0))


def test_prior_and_decoder_are_timed_apart_per_sample(clock):
    calls = iter([100, 10, 20, 60])

    def draw(key):
        clock.now += 8.0
        return LatentSamples(jnp.zeros((4, 1, 1, 1)), jnp.int32(next(calls)))

    def decode(z0):
        clock.now += 2.0
        return z0

    found = timing.time_sampling(draw, decode, jax.random.key(0), 3)
    assert found.prior_per_sample == 2.0
    assert found.decoder_per_sample == 0.5
    assert found.batch_size == 4
    assert found.nfe == 30


def test_every_draw_has_its_own_key_and_is_what_gets_decoded():
    decoded = []

    @jax.jit
    def draw(key):
        return LatentSamples(jax.random.normal(key, (2, 1, 1, 1)), jnp.int32(7))

    def decode(z0):
        decoded.append(np.asarray(z0).ravel()[0])
        return z0

    found = timing.time_sampling(draw, decode, jax.random.key(0), 3)
    assert len(set(decoded)) == 3
    assert found.nfe == 7
    assert found.prior.first > found.prior.median > 0

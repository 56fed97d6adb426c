"""CLD with the signal-to-noise ratio of another process: the ratio, rate, limits."""

import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.matched_cld import MatchedCLD
from lsgm.sdes.vpsde import VPSDE

LIKE = VPSDE()


@pytest.mark.parametrize("gamma", [0.04, 1.0])
def test_signal_to_noise_ratios_agree(x64, gamma):
    t = jnp.asarray(np.geomspace(1e-7, 1, 61))
    sde = MatchedCLD(like=LIKE, gamma=gamma)
    np.testing.assert_allclose(sde.log_snr(t), LIKE.log_snr(t), atol=1e-9)
    constants = [float(s.bound_constant(1e-2)) for s in (sde, LIKE)]
    # The exact constant has nu where LSGM's has the variance, 1e-3 less.
    assert constants[0] == pytest.approx(constants[1], abs=2e-3)


def test_rate_is_that_of_the_time_that_passes(x64):
    """Against differences of the table, which the exact rate is not made from."""
    sde, t = MatchedCLD(like=LIKE), np.geomspace(1e-5, 0.9, 20)
    step = 1e-4 * t
    later, earlier = (
        np.asarray(sde.elapsed(jnp.asarray(t + s))) for s in (step, -step)
    )
    rate = sde.friction / 4 * (later - earlier) / (2 * step)
    np.testing.assert_allclose(sde.beta(jnp.asarray(t)), rate, rtol=1e-6)


def test_time_starts_at_the_data():
    times = jnp.array([0.0, 1e-12, 1e-9])
    passed = np.asarray(MatchedCLD(like=LIKE).elapsed(times))
    assert passed[0] == 0 and passed[2] / passed[1] == pytest.approx(10, rel=1e-3)


def test_a_process_that_starts_with_noise_is_refused():
    with pytest.raises(ValueError, match="starts with noise of variance 3e-05.*var_0"):
        MatchedCLD(like=GeometricVPSDE())

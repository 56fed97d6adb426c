"""Grids of times: ends, direction, and the coordinate in which each is even."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsgm.samplers import grids
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE
from tests.samplers.exact import classes
from tests.sdes.catalog import ALL

SDES = [VPSDE(), GeometricVPSDE(), SubVPSDE(), VESDE(var_max=400.0)]
COORDINATES = {
    "UniformGrid": lambda t, kappa: t,
    "Quadratic": lambda t, kappa: np.sqrt(t),
    "QuadraticFromEnd": lambda t, kappa: np.sqrt(np.maximum(t - 1e-4, 0)),
    "LogSNR": lambda t, kappa: np.log(kappa),
    "Angle": lambda t, kappa: np.arctan(kappa),
    "Karras": lambda t, kappa: kappa ** (1 / 7),
}


def name(value):
    return type(value).__name__


@pytest.mark.parametrize("sde", SDES, ids=name)
@pytest.mark.parametrize("grid", [cls() for cls in classes(grids.Grid)], ids=name)
def test_grid_is_even_in_its_coordinate(grid, sde):
    times = grid(sde, 0.9, 1e-4, 12)
    assert times.shape == (13,) and times.dtype == np.float64
    assert (times[0], times[-1]) == pytest.approx((0.9, 1e-4), rel=1e-12)
    assert np.all(np.diff(times) < 0)
    kappa = grids.marginals(sde, times).kappa
    widths = np.diff(COORDINATES[name(grid)](times, kappa))
    np.testing.assert_allclose(widths, widths.mean(), rtol=1e-8)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    grid=st.sampled_from([cls() for cls in classes(grids.Grid)]),
    sde=st.sampled_from(ALL),
    t_end=st.floats(1e-6, 0.3),
    width=st.floats(1e-3, 1.0),
    num_steps=st.integers(1, 60),
)
def test_any_grid_falls_from_start_to_end(grid, sde, t_end, width, num_steps):
    t_start = t_end + (1 - t_end) * width
    times = grid(sde, t_start, t_end, num_steps)
    assert len(times) == num_steps + 1
    assert (times[0], times[-1]) == pytest.approx((t_start, t_end), rel=1e-12)
    assert np.all(np.diff(times) < 0)


@pytest.mark.parametrize("sde", SDES, ids=name)
def test_one_step_is_the_whole_interval(sde):
    for cls in classes(grids.Grid):
        np.testing.assert_allclose(cls()(sde, 1.0, 1e-3, 1), [1.0, 1e-3], rtol=1e-12)


@pytest.mark.parametrize("sde", SDES, ids=name)
def test_times_of_inverts_log_kappa(sde):
    times = np.array([1e-5, 1e-3, 0.2, 0.7, 1.0])
    back = grids.times_of(sde, np.log(grids.marginals(sde, times).kappa))
    np.testing.assert_allclose(back, times, rtol=1e-7)


@pytest.mark.parametrize("sde", SDES, ids=name)
def test_data_prediction_is_linear_in_state_and_residual(sde):
    """Eq. (7) is (u - sigma eps_hat) / alpha."""
    at = grids.marginals(sde, np.array([0.05, 0.5, 1.0]))
    u, r = np.array([0.3, -1.2, 0.7]), np.array([0.1, 0.4, -0.2])
    direct = (u - at.sigma * (at.anchor * u + r)) / at.alpha
    np.testing.assert_allclose(at.data_u * u + at.data_r * r, direct, rtol=1e-10)


def test_karras_refuses_a_flat_exponent():
    with pytest.raises(ValueError, match="rho must be positive, not 0"):
        grids.Karras(rho=0.0)

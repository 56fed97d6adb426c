"""What each SDE is: laws hold for any schedule, these numbers only for ours.

Values at double precision from an independent evaluation of the definitions, to
the digits given.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.power import PowerVPSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE

RECIPE = GeometricVPSDE(var_min=3e-5, var_max=0.999, var_0=3e-5)

PINS = [
    # sde, t, g2, alpha, var
    (VPSDE(), 0.01, 0.299, 0.999003, 0.0019930113),
    (VPSDE(), 0.1, 2.09, 0.9467218, 0.10371784),
    (VPSDE(), 0.5, 10.05, 0.28118288, 0.92093619),
    (VPSDE(), 0.9, 18.01, 0.016996463, 0.99971112),
    (VPSDE(), 1.0, 20.0, 0.0065715865, 0.99995681),
    (RECIPE, 0.0, 3.1240875e-4, 1.0, 3e-5),
    (RECIPE, 0.1, 8.8509828e-4, 0.9999725, 8.4989579e-5),
    (RECIPE, 0.5, 0.057321342, 0.99727396, 0.0054744863),
    (RECIPE, 0.9, 5.6722895, 0.80460422, 0.35263147),
    (RECIPE, 1.0, 10402.899, 0.031623251, 0.999),
    (SubVPSDE(), 0.1, 0.41105761, 0.9467218, 0.010757389),
    (SubVPSDE(), 0.5, 9.9871766, 0.28118288, 0.84812346),
    (SubVPSDE(), 1.0, 20.0, 0.0065715865, 0.99991363),
    (PowerVPSDE(), 0.5, 5.075, 0.64430483, 0.58487129),
    (PowerVPSDE(), 1.0, 20.0, 0.034504461, 0.99880944),
    (VESDE(var_min=1e-4, var_max=50.0), 0.5, 0.92789121, 1.0, 0.070710678),
    (VESDE(var_min=1e-4, var_max=50.0), 1.0, 50 * np.log(5e5), 1.0, 50.0),
]


@pytest.mark.parametrize(("sde", "t", "g2", "alpha", "var"), PINS, ids=lambda x: f"{x}")
def test_pins(x64, sde, t, g2, alpha, var):
    t = jnp.array([t])
    np.testing.assert_allclose(sde.g2(t), g2, rtol=1e-7)
    np.testing.assert_allclose(sde.alpha(t), alpha, rtol=3e-7)
    np.testing.assert_allclose(sde.var(t), var, rtol=1e-7)


def test_geometric_log_variance_is_linear_from_equal_minima(x64):
    log_var = np.log(RECIPE.var(jnp.linspace(0, 1, 11)))
    expected = np.linspace(np.log(3e-5), np.log(0.999), 11)
    np.testing.assert_allclose(log_var, expected, rtol=1e-12)


def test_initial_variance_shifts_the_geometric_process(x64):
    t = jnp.linspace(0, 1, 5)
    plain, shifted = (
        GeometricVPSDE(var_min=1e-4, var_max=0.99, var_0=v) for v in (0.0, 1e-3)
    )
    np.testing.assert_allclose(shifted.var(t) - plain.var(t), 1e-3, rtol=1e-9)


def test_first_power_is_the_linear_process(x64):
    t = jnp.linspace(0.01, 1, 7)
    linear, power = VPSDE(var_0=0.1), PowerVPSDE(var_0=0.1, power=1)
    np.testing.assert_allclose(power.var(t), linear.var(t), rtol=1e-12)
    np.testing.assert_allclose(power.beta(t), linear.beta(t), rtol=1e-12)
    v = linear.var(t)
    np.testing.assert_allclose(power.inv_var(v), linear.inv_var(v), rtol=1e-12)


@pytest.mark.parametrize("power", [1, 2, 3, 8])
@pytest.mark.parametrize("beta_0", [1e-3, 0.1, 19.0])
def test_power_inverse_over_all_scales(x64, power, beta_0):
    """From where the linear term of (2) rules to where the power does."""
    sde = PowerVPSDE(beta_0=beta_0, power=power)
    t = jnp.asarray(np.geomspace(1e-9, 1, 40))
    back = sde.inv_int_beta(sde.int_beta(t))
    np.testing.assert_allclose(back, t, rtol=1e-12)


def test_cubic_inverse_is_cardanos_root_with_signed_cube_roots(x64):
    sde = PowerVPSDE()
    b = np.linspace(0.5, 6.5, 9)
    p, q = 3 * sde.beta_0 / 19.9, -3 * b / 19.9
    d = np.sqrt(q**2 / 4 + p**3 / 27)
    cardano = np.cbrt(-q / 2 + d) + np.cbrt(-q / 2 - d)
    np.testing.assert_allclose(sde.inv_int_beta(jnp.asarray(b)), cardano, rtol=1e-9)


def test_sub_vp_has_the_mean_of_its_companion_and_less_noise(x64):
    sub = SubVPSDE(var_0=1e-3)
    t = jnp.linspace(0.01, 1, 9)
    assert sub.proposal == VPSDE(var_0=1e-3)
    np.testing.assert_array_equal(sub.alpha(t), sub.proposal.alpha(t))
    assert np.all(sub.var(t) < sub.proposal.var(t))


def test_bound_constants_of_the_recipes():
    assert VPSDE().bound_constant(0.01) == pytest.approx(-1.69011575, rel=1e-8)
    assert RECIPE.bound_constant(0.0) == pytest.approx(-3.78821805, rel=1e-8)
    with pytest.raises(ValueError, match="t_min = 0.0"):
        VPSDE().bound_constant(0.0)


@pytest.mark.parametrize(("sde", "nats"), [(VPSDE(), 2.2e-5), (RECIPE, 5.0e-4)])
def test_dropped_boundary_terms(x64, sde, nats):
    """Nats per dimension of unit-variance latents that LSGM's bound leaves out."""
    unit = jnp.sqrt(jnp.full((1, 1), sde.data_var))
    np.testing.assert_allclose(sde.prior_kl(unit), nats, rtol=0.02)
    expected = -0.5 * np.log(sde.var(jnp.ones(1)))
    np.testing.assert_allclose(sde.prior_kl(unit)[0], expected, rtol=1e-6)


BAD_FIELDS = [
    (VPSDE(), {"var_0": 1.0}, "var_0"),
    (VPSDE(), {"var_0": -1e-3}, "var_0"),
    (VPSDE(), {"beta_0": 0.0}, "beta_0"),
    (VPSDE(), {"beta_1": -1.0}, "beta_1"),
    (VPSDE(), {"beta_1": float("nan")}, "beta_1"),
    (PowerVPSDE(), {"power": 0}, "power"),
    (PowerVPSDE(), {"beta_1": 0.1}, "beta_1"),
    (RECIPE, {"var_min": 0.0}, "var_min"),
    (RECIPE, {"var_max": 1e-6}, "var_max"),
    (RECIPE, {"var_max": 1.0}, "var_max"),
    (SubVPSDE(), {"beta_0": -1.0}, "beta_0"),
    (SubVPSDE(), {"var_0": 2.0}, "var_0"),
    (VESDE(var_max=50.0), {"var_min": 0.0}, "var_min"),
    (VESDE(var_max=50.0), {"var_max": 1e-6}, "var_max"),
]


@pytest.mark.parametrize(("sde", "change", "name"), BAD_FIELDS, ids=str)
def test_bad_fields_are_refused_by_name(sde, change, name):
    with pytest.raises(ValueError, match=name):
        dataclasses.replace(sde, **change)

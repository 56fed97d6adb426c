"""The table of a distribution of times against the closed forms that it replaces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.objectives.tabulation import tabulate
from lsgm.objectives.weighting import LikelihoodWeighting, Reweighted, Unweighted
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE

CASES = [
    (VPSDE(), Unweighted(), 1e-2),
    (VPSDE(), LikelihoodWeighting(), 1e-5),
    (VPSDE(), Reweighted(), 1e-2),
    (GeometricVPSDE(), Reweighted(), 0.0),
    (VESDE(var_max=50.0), LikelihoodWeighting(), 1e-2),
]
each_case = pytest.mark.parametrize(("sde", "weighting", "t_min"), CASES, ids=str)


@each_case
def test_table_is_the_closed_form(x64, sde, weighting, t_min):
    """Eq. (1) and its inverse; between nodes to the order of the cubic."""
    table, closed = tabulate(sde, weighting, t_min), weighting.integral(sde)
    first, last = closed.value(jnp.array([t_min, 1.0]))
    total = float(last - first)
    ends = table.value(jnp.array([t_min, 1.0]))
    np.testing.assert_allclose(ends, [0, total], rtol=1e-12, atol=1e-15)
    mass = total * jnp.linspace(0, 1, 777)
    np.testing.assert_allclose(
        table.inverse(mass), closed.inverse(first + mass), rtol=1e-9
    )


@each_case
def test_float32_table_loses_only_the_rounding_of_the_mass(sde, weighting, t_min):
    table = tabulate(sde, weighting, t_min)
    total = table.value(jnp.array([1.0]))
    mass = total * jnp.linspace(0, 1, 777)
    low = table.inverse(mass)
    rate = weighting(sde, low) * sde.normal_error(low)
    with jax.enable_x64(True):
        exact = table.inverse(jnp.asarray(np.asarray(mass), jnp.float64))
    error = np.abs(np.asarray(low) - np.asarray(exact))
    assert np.all(error <= 4e-7 * (total / rate + low))


def test_tables_are_made_once():
    args = (VPSDE(), Unweighted(), 0.05)
    assert tabulate(*args) is tabulate(*args)

"""The chain of large steps: its tables, and how its pieces compose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.config import ConfigError, build
from lsgm.sdes.chain import Chain
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.power import PowerVPSDE
from lsgm.sdes.vpsde import VPSDE

# beta_1 .. beta_T and abar_1 .. abar_T of VPSDE(0.1, 20) from t = 1e-3.
# fmt: off
PUBLISHED = {
    1: ([0.999957], [4.319e-5]),
    2: ([0.921324, 0.999451], [0.078676, 4.319e-5]),
    4: ([0.478255, 0.849206, 0.956418, 0.987404],
        [0.521745, 0.078676, 3.42888e-3, 4.319e-5]),
    8: ([0.156445, 0.381493, 0.546501, 0.667488, 0.756197, 0.821240, 0.868930,
         0.903898],
        [0.843555, 0.521745, 0.236611, 0.078676, 0.0191814, 3.42888e-3, 4.49422e-4,
         4.319e-5]),
}
# fmt: on
CHAINS = [
    Chain(num_steps=1),
    Chain(num_steps=4),
    Chain(num_steps=8),
    Chain(num_steps=3, sde=VPSDE(beta_0=2.0, beta_1=9.0, var_0=0.1), t_min=0.0),
    Chain(num_steps=4, sde=GeometricVPSDE(var_min=1e-4, var_max=0.9, var_0=1e-4)),
    Chain(num_steps=5, sde=PowerVPSDE()),
]


@pytest.mark.parametrize("num_steps", PUBLISHED)
def test_tables_are_the_published(num_steps):
    table = Chain(num_steps=num_steps).table
    beta, abar = PUBLISHED[num_steps]
    np.testing.assert_allclose(table.beta, beta, atol=1e-6)
    np.testing.assert_allclose(table.abar, abar, rtol=3e-5, atol=1e-8)


def test_posterior_coefficients_are_the_published():
    table = Chain(num_steps=4).table
    np.testing.assert_allclose(table.c0, [1, 0.665778, 0.269191, 0.057822], atol=1e-6)
    np.testing.assert_allclose(table.c1, [0, 0.201576, 0.193001, 0.111852], atol=1e-6)
    np.testing.assert_allclose(table.var, [0, 0.440819, 0.884202, 0.984061], atol=1e-6)
    found = [v[1] for v in Chain(num_steps=2).table[2:]]
    np.testing.assert_allclose(found, [0.280350, 0.021588, 0.920858], atol=1e-6)


@pytest.mark.parametrize("chain", CHAINS, ids=repr)
def test_posterior_undoes_a_step_in_distribution(chain):
    """Averaged over x_k given x_0, Eq. (4) is Eq. (3) one level below; and a step of
    Eq. (2) from there is Eq. (3) again. Exact, in float64."""
    t = chain.table
    before = np.append(1.0, t.abar[:-1])
    mean = t.c0 + t.c1 * np.sqrt(t.abar)
    var = t.var + t.c1**2 * (1 - t.abar)
    np.testing.assert_allclose(mean, np.sqrt(before), atol=1e-12)
    np.testing.assert_allclose(var, 1 - before, atol=1e-12)
    np.testing.assert_allclose((1 - t.beta) * before, t.abar, atol=1e-12)
    np.testing.assert_allclose(
        (1 - t.beta) * (1 - before) + t.beta, 1 - t.abar, atol=1e-12
    )


@pytest.mark.parametrize("chain", CHAINS, ids=repr)
def test_steps_are_gaussian_and_grow_to_noise(chain):
    t = chain.table
    assert ((t.beta > 0) & (t.beta < 1)).all()
    assert (np.diff(t.abar) < 0).all()
    assert t.c0[0] == 1 and t.c1[0] == t.var[0] == 0


@pytest.fixture
def points():
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(key, (8, 2, 1, 3)) for key in keys]


def test_each_example_has_its_own_level(points):
    """Levels of a batch are looked up one by one, level 1 at the table's first row."""
    chain, (x0, eps, step) = Chain(num_steps=4), points
    level = jnp.arange(8, dtype=jnp.int32) % 4 + 1
    cleaner, noisier = chain.pair(x0, level, eps, step)
    back = chain.posterior(x0, noisier, level, eps)
    for i, k in enumerate(np.asarray(level)):
        table = [float(v[k - 1]) for v in chain.table]
        before = 1.0 if k == 1 else float(chain.table.abar[k - 2])
        below = before**0.5 * x0[i] + (1 - before) ** 0.5 * eps[i]
        np.testing.assert_allclose(cleaner[i], below, atol=1e-6)
        above = (1 - table[0]) ** 0.5 * below + table[0] ** 0.5 * step[i]
        np.testing.assert_allclose(noisier[i], above, atol=1e-6)
        expected = table[2] * x0[i] + table[3] * above + table[4] ** 0.5 * eps[i]
        np.testing.assert_allclose(back[i], expected, atol=1e-6)


def test_level_zero_and_the_last_step_add_no_noise(points):
    chain, (x0, eps, noisier) = Chain(num_steps=2), points
    zero = jnp.zeros(8, jnp.int32)
    np.testing.assert_array_equal(chain.diffuse(x0, zero, eps), x0)
    np.testing.assert_array_equal(chain.posterior(x0, noisier, zero + 1, eps), x0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(num_steps=0), "num_steps = 0: at least 1"),
        (dict(t_min=1.0), "t_min = 1.0"),
    ],
)
def test_impossible_chains_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Chain(**fields)


def test_a_process_that_does_not_preserve_variance_is_refused():
    vesde = dict(target="lsgm.sdes.vesde:VESDE", var_max=50.0)
    with pytest.raises(ConfigError, match="VariancePreservingSDE"):
        build(dict(target="lsgm.sdes.chain:Chain", sde=vesde))


def test_published_geometric_option_with_its_default_betas_is_refused():
    with pytest.raises(ValueError, match="below 1"):
        Chain(sde=GeometricVPSDE(var_min=0.1, var_max=20.0, var_0=0.1))

"""The mixture's closed forms, against matrices of another derivation and integrals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.benchmarks.mixture import NormalMixture
from lsgm.sdes.cld import CLD
from lsgm.sdes.vpsde import VPSDE
from tests.samplers.exact import AnyMixture

PROCESSES = [VPSDE(), CLD()]


@pytest.mark.parametrize("sde", PROCESSES, ids=["vp", "cld"])
def test_residual_is_that_of_the_matrices(sde):
    """At equal weights, where the other derivation holds."""
    mixture = NormalMixture(centers=(-0.6, 0.1), weights=(0.5, 0.5), deviation=0.2)
    u = sde.prior_sample(jax.random.key(0), (6, 1))
    t = jnp.linspace(0.01, 1.0, 6)
    expected = AnyMixture(sde, mixture.centers, 0.2**2).residual(u, t)
    found = jax.jit(mixture.residual(sde))(u, t)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("sde", PROCESSES, ids=["vp", "cld"])
def test_density_is_that_of_diffused_data(sde):
    """Its mass, mean and variance, of unequal weights, in every coordinate."""
    mixture = NormalMixture(centers=(-1.0, 2.0), weights=(0.25, 0.75), deviation=0.3)
    t, x = jnp.float32(0.1), jnp.linspace(-9, 9, 4001)
    z0 = mixture.draw(np.random.default_rng(0), 50_000)[:, None]
    eps = jax.random.normal(jax.random.key(1), sde.state_shape(z0.shape))
    u = sde.perturb(jnp.asarray(z0), jnp.full(len(z0), t), eps)
    for coordinate in range(u.shape[-1]):
        mass = mixture.density(sde, t, x, coordinate) * 18 / 4000
        mean = jnp.sum(mass * x)
        std = jnp.sqrt(jnp.sum(mass * (x - mean) ** 2))
        assert float(jnp.sum(mass)) == pytest.approx(1, abs=1e-4)
        assert float(mean) == pytest.approx(float(u[:, coordinate].mean()), abs=0.02)
        assert float(std) == pytest.approx(float(u[:, coordinate].std()), rel=0.02)


def test_defaults_have_unit_variance_and_their_quantiles():
    """Equally spaced quantiles have the moments of the data."""
    quantiles = NormalMixture().quantiles(20_000)
    assert abs(quantiles.mean()) < 1e-6
    assert quantiles.var() == pytest.approx(1, abs=1e-3)
    drawn = np.sort(NormalMixture().draw(np.random.default_rng(0), 20_000))
    assert np.abs(drawn - quantiles).mean() < 0.03


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weights": (0.5, 0.6, -0.1)}, "weights"),
        ({"weights": (0.5, 0.5)}, "one for each center"),
        ({"deviation": 0.0}, "deviation = 0.0"),
    ],
)
def test_bad_fields_are_refused_by_name(fields, words):
    with pytest.raises(ValueError, match=words):
        NormalMixture(**fields)

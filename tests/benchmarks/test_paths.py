"""Paths out end at the stationary law, paths back at the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.benchmarks import paths
from lsgm.benchmarks.exact_samplers import compare
from lsgm.benchmarks.mixture import NormalMixture

NUM = 4000


@pytest.mark.parametrize("name", paths.PROCESSES)
def test_out_and_back(name):
    sde, mixture = paths.PROCESSES[name], NormalMixture()
    z0 = jnp.asarray(mixture.draw(np.random.default_rng(0), NUM), jnp.float32)[:, None]
    u0 = sde.lift(z0, jnp.zeros(NUM), jax.random.normal(jax.random.key(0), (NUM, 1))).u
    out = paths.diffuse(jax.random.key(1), sde, u0, num_steps=400)
    assert out.shape == (401, NUM, u0.shape[-1])
    np.testing.assert_array_equal(out[0], u0)
    u1 = sde.prior_sample(jax.random.key(2), (NUM, 1))
    np.testing.assert_allclose(out[-1].std(0), np.std(u1, 0), rtol=0.1)
    back = paths.come_back(jax.random.key(3), sde, u1, mixture, num_steps=400)
    distance, width = compare(np.asarray(back[-1, :, 0], np.float64), mixture)
    assert distance < 0.08 and 0.8 < width < 1.5


def test_picture_is_a_png(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "STEPS", 20)
    paths.write(paths.draw(NormalMixture(), seed=0), tmp_path)
    assert (tmp_path / "paths.png").read_bytes().startswith(b"\x89PNG")

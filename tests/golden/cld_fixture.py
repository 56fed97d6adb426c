"""The fixtures of CLD: their arrays, and the process that they belong to."""

import json

import jax.numpy as jnp
import numpy as np

from lsgm.numerics import expand_to
from lsgm.sdes.cld import CLD


class Golden:
    """The fixture's arrays, channels last, and its process."""

    def __init__(self, file):
        with np.load(file) as arrays:
            self.arrays = dict(arrays)
        config = json.loads(str(self.arrays["config"]))
        self.config = config
        self.sde = CLD(
            beta_0=config["beta0"],
            beta_1=config["beta0"] + config["beta1"],
            mass=1 / config["m_inv"],
            gamma=config["gamma"],
            added_var=config["numerical_eps"],
        )

    def __getitem__(self, key):
        x = np.asarray(self.arrays[key], np.float64)
        return jnp.asarray(np.moveaxis(x, 1, -1) if x.ndim == 4 else x)

    def covariance(self, t, sde=None):
        """[n 2 2] of the kernel, by its root."""
        sde = sde or self.sde
        unit = jnp.broadcast_to(jnp.eye(2)[:, None], (2, t.size, 2))
        root = jnp.stack([sde.scale_noise(e, t) for e in unit], axis=-1)
        return root @ root.mT

    def residual(self, score):
        """Of a score (u, t) -> [b h w c]: what makes our predictor have it."""

        def residual(u, t):
            given = score(u, t)
            eps = -given / expand_to(self.sde.score_scale(t), given)
            return eps - self.sde.normal_eps(u, t)

        return residual

    def gaussian_score(self, u, t):
        """The reference's exact score of Gaussian data."""
        sde, var = self.sde, float(self.arrays["sampler/gauss_var0x"])
        mean = sde.mean(jnp.ones((t.size, 1)), t)
        cov = self.covariance(t) + var * mean[:, :, None] * mean[:, None]
        xx, xv, vv = (expand_to(cov[:, i, j], u) for i, j in ((0, 0), (0, 1), (1, 1)))
        x, v = sde.lower(u), sde.noised(u)
        return -(xx * v - xv * x) / (xx * vv - xv**2)

    def toy_network(self, u, t):
        """The reference's toy network."""
        x, v = self.sde.lower(u), self.sde.noised(u)
        return 0.3 * x - 0.2 * jnp.sin(v) + 0.1 * expand_to(t, u)


def close(actual, expected, rtol=1e-5):
    expected = np.asarray(expected)
    atol = rtol * np.abs(expected).max() * 1e-2
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)

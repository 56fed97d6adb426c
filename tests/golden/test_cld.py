"""CLD's kernel, drift, loss weights and probability flow against the published code.

The reference adds a constant to both variances at every time. It is no part of the
process, and of its published results only through times below 1e-3, so the tests
add it here.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.numerics import expand_to
from lsgm.objectives.weighting import LikelihoodWeighting, Reweighted, Unweighted
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.cld import CLD
from tests.conftest import golden_files


class Golden:
    """The fixture's arrays, channels last, and its process."""

    def __init__(self, file):
        with np.load(file) as arrays:
            self.arrays = dict(arrays)
        config = json.loads(str(self.arrays["config"]))
        self.config, self.floor = config, config["numerical_eps"]
        self.sde = CLD(
            beta_0=config["beta0"],
            beta_1=config["beta0"] + config["beta1"],
            mass=1 / config["m_inv"],
            gamma=config["gamma"],
        )

    def __getitem__(self, key):
        x = np.asarray(self.arrays[key], np.float64)
        return jnp.asarray(np.moveaxis(x, 1, -1) if x.ndim == 4 else x)

    def covariance(self, t):
        """With the constant, [n 2 2] in float64."""
        unit = jnp.broadcast_to(jnp.eye(2)[:, None], (2, len(t), 2))
        rows = [self.sde.scale_noise(e, t) for e in unit]
        root = jnp.stack(rows, axis=-1)
        return np.asarray(root @ root.mT) + self.floor * np.eye(2)


@pytest.fixture(params=golden_files("cld_cifar.npz"))
def golden(request, x64):
    return Golden(request.param)


def close(actual, expected, rtol=1e-5):
    expected = np.asarray(expected)
    atol = rtol * np.abs(expected).max() * 1e-2
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def test_kernel(golden):
    t = golden["t"]
    covariance = golden.covariance(t)
    root = np.linalg.cholesky(covariance)
    for (i, j), name in {(0, 0): "xx", (1, 0): "xv", (1, 1): "vv"}.items():
        np.testing.assert_allclose(
            covariance[:, i, j], golden[f"var_hsm/{name}"], rtol=1e-5
        )
        stored = golden[f"chol_hsm/{i + 1}{j + 1}"]
        np.testing.assert_allclose(root[:, i, j], stored, rtol=2e-5)
    stored = -golden["noise_multiplier_hsm"]
    np.testing.assert_allclose(1 / root[:, 1, 1], stored, rtol=2e-5)
    # Without the constant the scale is the same from 1e-3 on.
    later = np.asarray(t) >= 9e-4
    np.testing.assert_allclose(
        golden.sde.score_scale(t)[later], stored[later], rtol=5e-3
    )


def test_perturbed_states(golden):
    t, z0, noise = golden["hsm/t"], golden["x"], golden["loss/noise"]
    close(golden.sde.mean(z0, t), golden["hsm/mean"])
    root = np.linalg.cholesky(golden.covariance(t))
    by_part = np.asarray(noise).reshape(*z0.shape[:3], 2, 3)
    scaled = np.einsum("bij,bhwjc->bhwic", root, by_part).reshape(noise.shape)
    close(golden["hsm/mean"] + scaled, golden["hsm/perturbed"])
    target = -np.asarray(golden.sde.noised(noise)) / root[:, 1, 1][:, None, None, None]
    close(target, golden["hsm/score_target_v"])
    # Without the constant, at these times of 0.002 and more:
    perturbed = golden.sde.perturb(z0, t, noise)
    np.testing.assert_allclose(perturbed, golden["hsm/perturbed"], atol=5e-5)
    found = golden.sde.score(golden.sde.noised(noise), t)
    np.testing.assert_allclose(found, target, rtol=1e-3)


def test_drift_diffusion_and_prior(golden):
    sde, t, u = golden.sde, golden["t"], golden["u"]
    close(sde.beta(t), golden["beta"])
    close(sde.drift(u, t), golden["sde_drift"])
    g = expand_to(jnp.sqrt(sde.g2(t)), u) * jnp.ones_like(sde.noised(u))
    close(sde.embed(g), golden["sde_diffusion"])
    close(sde.prior_log_prob(u), golden["prior_logp_x"] + golden["prior_logp_v"])


def test_reverse_drift_of_the_probability_flow(golden):
    """Backwards, and for any score: ours takes the residual that belongs to it."""
    sde, t, u = golden.sde, 1 - golden["t"], golden["u"]
    inner = np.asarray(t) > 1e-4
    t, u, score = t[inner], u[inner], golden["rsde_score_in"][inner]
    residual = -score / expand_to(sde.score_scale(t), score) - sde.normal_eps(u, t)
    velocity = sde.probability_flow(u, t, residual)
    close(-velocity, golden["rsde_pf1/drift"][inner])


def test_loss_weights(golden):
    """The published three are ours, up to the factor of the time sampler."""
    sde, t = golden.sde, golden["hsm/t"]
    published = {
        name: golden[f"hsm/mixed0/loss_{name}"]
        for name in ("likelihood", "reweightedv1", "reweightedv2")
    }
    ours = {
        "likelihood": LikelihoodWeighting(),
        "reweightedv1": Reweighted(),
        "reweightedv2": Unweighted(),
    }
    for name, weighting in ours.items():
        ratio = published[name] / published["reweightedv2"]
        close(weighting(sde, t), ratio, 1e-3)


def test_probability_flow_of_gaussian_data(golden):
    """With the reference's exact score, and its last step, which moves x alone."""
    sde, var = golden.sde, golden.arrays["sampler/gauss_var0x"]
    end = golden.config["sampling_eps"]
    u1 = golden["sampler/u_init"]

    def residual(u, t):
        mean = sde.mean(jnp.ones((t.size, 1)), t)
        unit = jnp.broadcast_to(jnp.eye(2)[:, None], (2, t.size, 2))
        root = jnp.stack([sde.scale_noise(e, t) for e in unit], axis=-1)
        cov = root @ root.mT + float(var) * mean[:, :, None] * mean[:, None]
        xx, xv, vv = (
            expand_to(cov[:, i, j] + (i == j) * golden.floor, u)
            for i, j in ((0, 0), (0, 1), (1, 1))
        )
        x, v = sde.lower(u), sde.noised(u)
        score = -(xx * v - xv * x) / (xx * vv - xv**2)
        return -score / expand_to(sde.score_scale(t), v) - sde.normal_eps(u, t)

    flow = ProbabilityFlow(rtol=1e-5, atol=1e-5, t_end=end)
    done = flow(jax.random.key(0), sde, residual, u1)
    x = sde.lower(done.u)
    x = x - end * golden.config["beta0"] / sde.mass * sde.noised(done.u)
    stored = golden["sampler/ode_gauss_denoise1/x"]
    np.testing.assert_allclose(x, stored, atol=1e-3 * float(jnp.max(jnp.abs(stored))))
    calls = int(golden.arrays["sampler/ode_gauss_denoise1/nfe"]) - 1
    assert abs(int(done.nfe) - calls) <= 6

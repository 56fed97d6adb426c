"""CLD's kernel, drift, loss weights and probability flow against the published code.

The reference computes in float64, and adds a constant to both variances.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.numerics import expand_to
from lsgm.objectives.score_matching import added_residual
from lsgm.objectives.weighting import LikelihoodWeighting, Reweighted, Unweighted
from tests.golden.cld_fixture import Golden, close
from tests.golden.files import fixtures_with


@pytest.fixture(params=fixtures_with("chol_hsm*"))
def golden(request, x64):
    return Golden(request.param)


def test_kernel(golden):
    """Given the data, and given a velocity too: gamma = 0."""
    t = golden["t"]
    given = dataclasses.replace(golden.sde, gamma=1e-12)
    for sde, name in ((golden.sde, "hsm"), (given, "dsm")):
        covariance = golden.covariance(t, sde)
        root = np.linalg.cholesky(covariance)
        for i, j, part in ((0, 0, "xx"), (1, 0, "xv"), (1, 1, "vv")):
            stored = golden[f"var_{name}/{part}"]
            np.testing.assert_allclose(covariance[:, i, j], stored, rtol=1e-5)
            stored = golden[f"chol_{name}/{i + 1}{j + 1}"]
            np.testing.assert_allclose(root[:, i, j], stored, rtol=2e-5)
        stored = -golden[f"noise_multiplier_{name}"]
        np.testing.assert_allclose(sde.score_scale(t), stored, rtol=2e-5)


def test_perturbed_states(golden):
    t, z0, noise = golden["hsm/t"], golden["x"], golden["loss/noise"]
    close(golden.sde.mean(z0, t), golden["hsm/mean"])
    close(golden.sde.perturb(z0, t, noise), golden["hsm/perturbed"])
    target = golden.sde.score(golden.sde.noised(noise), t)
    close(target, golden["hsm/score_target_v"])


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
        close(weighting(sde, t), ratio)


def test_published_mixed_score(golden):
    """The base that is added to a network, and the errors of the sum."""
    sde, t, u = golden.sde, golden["hsm/t"], golden["hsm/perturbed"]
    network, noise = golden.toy_network(u, t), golden["loss/noise"]
    for mixed, eps in ((0, network), (1, network + sde.base_eps(u, t))):
        prefix = f"hsm/mixed{mixed}"
        close(sde.score(eps, t), golden[f"{prefix}/score"])
        error = jnp.sum((sde.noised(noise) - eps) ** 2, (1, 2, 3))
        close(error, golden[f"{prefix}/loss_reweightedv2"])
    residual = added_residual(sde, network, u, t)
    both = residual + sde.normal_eps(u, t)
    np.testing.assert_allclose(both, network + sde.base_eps(u, t), atol=1e-9)

"""One training step against the published one: every term, loss and gradient."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import elbo
from lsgm.interop import ncsnpp_names, nvae_names
from lsgm.networks.spectral import scale_penalty, spectral_norm
from lsgm.numerics import sum_per_example
from lsgm.objectives.kl_balance import balance, group_weights
from tests.golden.files import fixtures_with
from tests.golden.loss_fixture import PUBLISHED, QUICK, load, nchw

RTOL = 1e-5
RTOL_GRADIENTS = 1e-4


@pytest.fixture(params=fixtures_with("base_file", "args", "q_loss"))
def golden(request):
    return load(request.param)


def assert_close(ours, theirs, scale=None):
    """Sums: 1e-5 of their size, or of the ``scale`` of the terms that cancel."""
    size = np.abs(theirs) if scale is None else np.max(np.abs(scale))
    error = np.abs(np.asarray(ours, np.float64) - theirs)
    assert np.shape(ours) == np.shape(theirs)
    assert np.all(error <= RTOL * size), (ours, theirs)


def constant(golden):
    """The bound's constant over all latents: it and the integral nearly cancel."""
    prior = golden.model.prior
    each = prior.sde.bound_constant(prior.time_sampler.t_min)
    return each * math.prod(golden.vae.prior_shape)


def by_group(golden):
    """log q and -log p, each [b groups]."""
    terms = golden.terms
    neg_log_p = elbo.neg_log_prior(
        golden.model, terms.inferred.z, terms.prior_terms.cross_entropy
    )
    return (
        np.stack([sum_per_example(part) for part in parts], axis=1)
        for parts in (terms.inferred.log_q, neg_log_p)
    )


def test_times(golden):
    """Where the recorded numbers put the prior's and the encoder's times."""
    prior, draws = golden.model.prior, golden.draws
    own = draws.prior if draws.encoder is None else draws.encoder
    for sampler, rho, key in (
        (prior.time_sampler, draws.prior.rho, "iw_p/t"),
        (prior.encoder_times, own.rho_encoder, "iw_q/t"),
    ):
        if sampler is not None:
            t, _ = sampler.times(prior.sde, rho)
            np.testing.assert_allclose(t, golden[key], rtol=1e-4)
    constant = prior.sde.bound_constant(prior.time_sampler.t_min)
    assert_close(np.float32(constant), golden["cross_entropy_const"])


def test_latents(golden):
    z = iter(golden.terms.inferred.z)
    for s, scale in enumerate(golden.vae.latent_shapes):
        joined = nchw(np.concatenate([next(z) for _ in scale], axis=-1))
        expected = golden[f"latent_scale{s}"]
        np.testing.assert_allclose(
            joined, expected, rtol=0, atol=2e-5 * np.abs(expected).max()
        )


def test_terms_of_the_bound(golden):
    terms = golden.terms
    assert_close(terms.reconstruction, golden["recon_nll_per_image"])
    assert_close(terms.neg_entropy, golden["neg_entropy_per_image"])
    expected = golden["cross_entropy_per_image"]
    scale = np.append(expected, constant(golden))
    assert_close(terms.cross_entropy, expected, scale)


def test_cross_entropy_and_kl_by_group(golden):
    log_q, neg_log_p = by_group(golden)
    groups = len(golden.vae.latent_shapes[0])
    cancelling = np.append(neg_log_p, constant(golden) / groups)
    assert_close(neg_log_p, golden["cross_entropy_per_group"], scale=cancelling)
    scale = np.append(log_q, cancelling)
    assert_close(golden.terms.kl.T, golden["kl_per_group_per_image"], scale)
    assert_close(golden.terms.kl.mean(1), golden["kl_vals_per_group"], scale)
    start = 0
    for s, groups in enumerate(map(len, golden.vae.latent_shapes)):
        part = neg_log_p[:, start : start + groups]
        start += groups
        expected = golden[f"cross_entropy_scale{s}_per_image"]
        assert_close(part.sum(1), expected, scale=np.append(part, cancelling))
    first = len(golden.vae.latent_shapes[0])
    rest = neg_log_p[:, first:].sum(1)
    assert_close(rest, golden["remaining_neg_log_p_per_image"])


def test_kl_by_channel(golden):
    terms = golden.terms
    neg_log_p = elbo.neg_log_prior(
        golden.model, terms.inferred.z, terms.prior_terms.cross_entropy
    )
    for k, parts in enumerate(zip(terms.inferred.log_q, neg_log_p, strict=True)):
        log_q, cross = (np.asarray(part).sum((1, 2)) for part in parts)
        scale = np.abs([log_q, cross])
        assert_close((log_q + cross).mean(0), golden[f"kl_diag/group{k}"], scale)


def test_balance(golden):
    kl, step = golden.terms.kl, jnp.asarray(int(golden["global_step"]))
    coeff = golden.objective.kl(step)
    assert_close(coeff, golden["kl_coeff"])
    weights = group_weights(tuple(map(len, golden.vae.latent_shapes)))
    assert_close(weights, golden["kl_alpha_square"])
    gammas = jnp.ones(len(kl))
    if golden.objective.balance_kl:
        gammas = balance(kl, coeff, weights)
    assert_close(gammas, golden["kl_coeffs"])
    balanced = coeff * (gammas[:, None] * kl).sum(0)
    scale = np.abs([*by_group(golden)])
    assert_close(balanced, golden["balanced_kl_per_image"], scale)
    q_loss = jnp.mean(golden.terms.reconstruction + balanced)
    assert_close(q_loss, golden["q_loss"])


def test_prior_s_loss(golden):
    p_loss = golden.terms.prior_terms.losses["prior"].mean()
    assert_close(p_loss, golden["p_loss"])


def test_regularisers(golden):
    """Of the trained groups, where the published code penalises anything."""
    scales = {
        "vae": golden.terms.inferred.scales,
        **golden.terms.prior_terms.scales,
    }
    for group in golden.objective.groups:
        suffix = PUBLISHED[group]
        assert_close(scale_penalty(scales[group]), golden[f"bn_loss_{suffix}"])
        if golden.has_spectral(group):
            penalise = jax.jit(spectral_norm, compiler_options=QUICK)
            kernels = golden.kernels(golden.terms)[group]
            total, _ = penalise(kernels, golden.mutables[group]["spectral"])
            assert_close(total, golden[f"norm_loss_{suffix}"])
        else:
            assert golden[f"norm_loss_{suffix}"] == 0


@pytest.mark.slow
def test_losses_of_the_objective(golden):
    losses, _, aux = golden.step
    expected = {"vae": golden["q_loss"], "prior": golden["p_loss"]}
    if golden.one_objective:
        expected["prior"] = expected["vae"]
    for group, loss in losses.items():
        suffix = PUBLISHED[group]
        coefficients = golden.objective.regularization[group]
        penalty = coefficients.spectral * golden[f"norm_loss_{suffix}"]
        penalty += coefficients.norm * golden[f"bn_loss_{suffix}"]
        assert_close(loss, expected[group] + penalty)
    assert set(losses) == set(golden.objective.groups)
    statistics = nvae_names.to_published(
        golden.vae.network, golden.params["vae"], aux.mutables["vae"]["batch_stats"]
    )
    prefix = "vae_buffer_after/"
    for key in (key for key in golden.arrays if key.startswith(prefix)):
        found = statistics[key.removeprefix(prefix)]
        np.testing.assert_allclose(found, golden[key], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_gradients(golden):
    _, gradients, _ = golden.step
    for group, gradient in gradients.items():
        if group == "vae":
            found = nvae_names.to_published(golden.vae.network, gradient)
        else:
            found = ncsnpp_names.write(gradient, fir=golden.fir)
            assert not np.any(found.pop("temb_fun.w", 0))
        prefix = f"grad_{PUBLISHED[group]}"
        names, norms = golden.json(f"{prefix}/names"), golden[f"{prefix}/norms"]
        total = golden[f"{prefix}/total_norm"]
        assert sorted(found) == sorted(names)
        ours = np.array([np.linalg.norm(found[name].ravel()) for name in names])
        limits = dict(rtol=RTOL_GRADIENTS, atol=1e-6 * float(total))
        np.testing.assert_allclose(ours, norms, **limits)
        np.testing.assert_allclose(np.linalg.norm(ours), total, rtol=RTOL_GRADIENTS)
        start = f"{prefix}/arr/"
        for key in (key for key in golden.arrays if key.startswith(start)):
            array = found[key.removeprefix(start)]
            np.testing.assert_allclose(array, golden[key], err_msg=key, **limits)

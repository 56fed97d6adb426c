"""The NVAE and its likelihoods against the published implementation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.interop.nvae_names import to_published
from lsgm.networks.posterior import MEAN_CLAMP
from lsgm.numerics import soft_clamp, sum_per_example
from tests.golden.files import fixtures_with
from tests.golden.vae_fixture import (
    MODES,
    VAE,
    assert_close,
    assert_sums_close,
    load,
    nchw,
    nhwc,
)


@pytest.fixture(params=fixtures_with(*VAE))
def golden(request):
    return load(request.param)


def test_state_round_trip(golden):
    """Importing and exporting gives back every array that carries something."""
    state, network = golden.state(), golden.vae.network
    back = to_published(network, golden.params, golden.mutables["batch_stats"])
    lost = {key.rsplit(".", 1)[-1] for key in state.keys() - back.keys()}
    assert lost <= {"num_batches_tracked", "weight_normalized"}
    assert back.keys() <= state.keys()
    learned = to_published(network, golden.params)
    assert sorted(learned) == sorted(golden.json("param_key_order"))
    for key, value in back.items():
        np.testing.assert_array_equal(value, state[key], err_msg=key)


def test_preprocessing(golden):
    bits = golden.vae.likelihood.num_bits
    levels = np.floor(255 * golden["x_raw01"] / 2 ** (8 - bits))
    levels = golden.inner(levels.transpose(0, 2, 3, 1)).astype(np.uint8)
    if bits == 1:
        levels = golden.inner(golden["x_raw01"].transpose(0, 2, 3, 1)).astype(np.uint8)
    np.testing.assert_allclose(
        golden.vae.preprocess({"levels": jnp.asarray(levels)}), golden.x, atol=1e-6
    )


def test_posterior_with_running_statistics(golden):
    _, raws = golden.eval
    clamp = golden.vae.network.log_std_clamp
    for k, raw in enumerate(raws):
        mean, log_std = jnp.split(raw, 2, axis=-1)
        assert_close(nchw(raw), golden[f"eval/group{k}/param_raw"])
        assert_close(nchw(soft_clamp(mean, MEAN_CLAMP)), golden[f"eval/group{k}/mu"])
        assert_close(
            nchw(soft_clamp(log_std, clamp)), golden[f"eval/group{k}/log_sigma"]
        )


def test_posterior_with_batch_statistics(golden):
    _, raws = golden.train
    clamp = golden.vae.network.log_std_clamp
    for k, raw in enumerate(raws):
        mean, log_std = jnp.split(raw, 2, axis=-1)
        assert_close(nchw(soft_clamp(mean, MEAN_CLAMP)), golden[f"train/group{k}/mu"])
        assert_close(
            nchw(soft_clamp(log_std, clamp)), golden[f"train/group{k}/log_sigma"]
        )


@pytest.mark.parametrize("mode", MODES)
def test_latents_and_their_densities(golden, mode):
    inferred, _ = getattr(golden, mode)
    kl = golden.kl_per_variable(inferred)
    for k, (z, log_q) in enumerate(zip(inferred.z, inferred.log_q, strict=True)):
        group = f"{mode}/group{k}"
        assert_close(nchw(z), golden[f"{group}/latent"])
        if mode == "eval":
            assert_close(nchw(log_q), golden[f"{group}/log_q_per_var"])
        assert_sums_close(sum_per_example(log_q), golden[f"{group}/log_q"])
        assert_sums_close(sum_per_example(log_q - kl[k]), golden[f"{group}/log_p"])
        assert_sums_close(sum_per_example(kl[k]), golden[f"{group}/kl"])
        diagonal = kl[k].sum(axis=(1, 2)).mean(axis=0)
        assert_sums_close(diagonal, golden[f"{group}/kl_diag"])


@pytest.mark.parametrize("mode", MODES)
def test_latents_join_by_scale(golden, mode):
    inferred, _ = getattr(golden, mode)
    z0 = golden.vae.join(inferred.z)
    assert z0.shape[1:] == golden.vae.prior_shape
    assert_close(nchw(z0), golden[f"{mode}/latent_scale0"])
    rest = golden.vae.rest(inferred.z)
    for part, z in zip(golden.vae.merge(z0, rest), inferred.z, strict=True):
        np.testing.assert_array_equal(part, z)
    deepest = len(golden.vae.latent_shapes[0])
    per_scale = len(inferred.z) // len(golden.vae.latent_shapes)
    for s in range(1, len(golden.vae.latent_shapes)):
        finer = inferred.z[s * per_scale : (s + 1) * per_scale]
        assert_close(
            nchw(jnp.concatenate(finer, -1)), golden[f"{mode}/latent_scale{s}"]
        )
    if f"{mode}/remaining_neg_log_p" in golden:
        nll = sum(
            sum_per_example(0.5 * z**2 + 0.5 * math.log(2 * math.pi))
            for z in inferred.z[deepest:]
        )
        assert_sums_close(nll, golden[f"{mode}/remaining_neg_log_p"])


@pytest.mark.parametrize("mode", MODES)
def test_decoder_output(golden, mode):
    inferred, _ = getattr(golden, mode)
    strided, kept = golden.strided(inferred.out)
    for key, ours in (
        ("logits", nchw(inferred.out)),
        ("logits_image0", nchw(inferred.out)[:1]),
    ):
        if f"{mode}/{key}" in golden:
            theirs = golden.inner(nhwc(golden[f"{mode}/{key}"]))
            assert_close(ours, nchw(theirs))
    if f"{mode}/logits_stride4" in golden:
        theirs = golden[f"{mode}/logits_stride4"][:, :, kept[:, None], kept[None]]
        assert_close(strided, theirs)


@pytest.mark.parametrize("mode", MODES)
def test_mean_image(golden, mode):
    inferred, _ = getattr(golden, mode)
    mean = golden.vae.likelihood_of(inferred.out).mean()
    if f"{mode}/mean_image" in golden:
        theirs = golden.inner(nhwc(golden[f"{mode}/mean_image"]))
        assert_close(nchw(mean), nchw(theirs))
    else:
        strided, kept = golden.strided(mean)
        theirs = golden[f"{mode}/mean_image_stride4"][:, :, kept[:, None], kept[None]]
        assert_close(strided, theirs)


@pytest.mark.parametrize("mode", MODES)
def test_bound(golden, mode):
    inferred, _ = getattr(golden, mode)
    recon, kl = golden.recon(inferred), golden.kl(inferred)
    log_q = sum(map(sum_per_example, inferred.log_q))
    assert_sums_close(recon, golden[f"{mode}/recon_nll"])
    assert_sums_close(log_q, golden[f"{mode}/log_q"])
    assert_sums_close(log_q - kl.sum(0), golden[f"{mode}/log_p"])
    assert_sums_close(kl.sum(0), golden[f"{mode}/kl"])
    assert_sums_close(recon + kl.sum(0), golden[f"{mode}/nelbo_per_image"])
    assert_sums_close(-recon - kl.sum(0), golden[f"{mode}/log_iw"])


def test_running_statistics_after_one_pass(golden):
    inferred, _ = golden.train
    ours = to_published(golden.vae.network, golden.params, inferred.batch_stats)
    prefix = "train/buffers_after/"
    stored = [key for key in golden.arrays if key.startswith(prefix)]
    assert len(stored) == len(ours) - len(golden.json("param_key_order"))
    for key in stored:
        assert_close(ours[key.removeprefix(prefix)], golden[key])


def test_samples(golden):
    """The decoder alone: latents of the image, of some scales, of none."""
    given = golden.groups("eval/group{}/latent")
    top = len(golden.vae.latent_shapes[0])
    num_given = {"all_given": len(given), "top_scale_given": top, "none_given": 0}
    generate = jax.jit(
        lambda z: golden.vae.generate(golden.params, golden.mutables, z).mean()
    )
    keys = [key for key in golden.arrays if key.startswith("sample/")]
    assert keys
    for key in keys:
        case, _, temperature = key.removeprefix("sample/").partition("_t")
        n, temperature = num_given[case], float(temperature or 0)
        rest = tuple(temperature * noise for noise in golden.noise[n:])
        image = jnp.clip(0.5 * (generate(given[:n] + rest) + 1), 0, 1)
        assert_close(nchw(image), nchw(golden.inner(nhwc(golden[key]))))

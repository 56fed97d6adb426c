"""The loss of stage 1 and its gradient against the published implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.interop.nvae_names import layers, to_published
from lsgm.networks.spectral import spectral_norm
from lsgm.objectives.kl_balance import balance
from lsgm.training.inactive import channel_kl
from lsgm.vae import Encoded
from tests.golden.files import fixtures_with
from tests.golden.vae_fixture import (
    MODES,
    RTOL_GRADIENTS,
    VAE,
    assert_close,
    assert_sums_close,
    load,
)


@pytest.fixture(params=fixtures_with(*VAE))
def golden(request):
    return load(request.param)


@pytest.mark.parametrize("mode", MODES)
def test_kl_balance(golden, mode):
    inferred, _ = getattr(golden, mode)
    kl = golden.kl(inferred)
    assert_sums_close(golden.weights(), golden[f"{mode}/kl_alpha_square"])
    coeff = golden.number_in(rf"{mode}/kl_coeff([\d.]+)_balance1/kl_coeffs")
    gammas = balance(kl, jnp.float32(coeff), golden.weights())
    for key, gamma in (("balance1", gammas), ("balance0", jnp.ones_like(gammas))):
        prefix = f"{mode}/kl_coeff{coeff}_{key}"
        assert_sums_close(gamma, golden[f"{prefix}/kl_coeffs"])
        assert_sums_close(kl.mean(1), golden[f"{prefix}/kl_vals"])
        balanced = float(coeff) * (gamma[:, None] * kl).sum(0)
        assert_sums_close(balanced, golden[f"{prefix}/balanced_kl"])


def test_kl_by_channel(golden):
    inferred, _ = golden.eval
    deepest = range(len(golden.vae.latent_shapes[0]))
    expected = [golden[f"eval/group{k}/kl_diag"] for k in deepest]
    join = golden.vae.join
    encoded = Encoded(z0=join(inferred.z), log_q=join(inferred.log_q))
    assert_sums_close(channel_kl(encoded), np.concatenate(expected))


def test_spectral_regularisation(golden):
    inferred, _ = golden.train
    kernels = inferred.kernels
    four_rounds, vectors = jax.jit(spectral_norm), golden.vectors(kernels)
    for _ in range(10):
        first, vectors = four_rounds(kernels, vectors)
    assert_sums_close(first, golden["sr/loss_40"])
    assert_sums_close(golden.losses["norm_loss_4iter"], golden["sr/loss_4"])
    assert_sums_close(golden.losses["bn_loss"], golden["sr/bn_loss"])
    assert len(jax.tree.leaves(inferred.scales)) == len(golden.json("sr/bn_layers"))


def test_power_iteration_vectors(golden):
    inferred, _ = golden.train
    order = golden.published_order(inferred.kernels)
    taps = {layer.published: layer.path for layer in layers(golden.vae.network)}
    kernels = {
        tuple(e.key for e in path if hasattr(e, "key"))[:-1]: kernel.shape
        for path, kernel in jax.tree_util.tree_leaves_with_path(inferred.kernels)
    }
    recorded = [
        (i, group)
        for i, group in enumerate(golden.json("sr/groups"))
        if f"sr/u_4_{i}" in golden
    ]
    assert recorded
    for i, group in recorded:
        shape = "{}x{}".format(*group["shape"])
        u, v = golden.losses["vectors"][shape]
        places = [order[shape].index(name) for name in group["layers"]]
        assert_close(u[jnp.asarray(places)], golden[f"sr/u_4_{i}"])
        for name, place, theirs in zip(
            group["layers"], places, golden[f"sr/v_4_{i}"], strict=True
        ):
            kh, kw, channels, _ = kernels[taps[name]]
            ours = v[place].reshape(kh, kw, channels).transpose(2, 0, 1).reshape(-1)
            assert_close(ours, theirs)


def test_stage1_loss(golden):
    keys = [key for key in golden.losses if f"stage1/{key}" in golden]
    assert len(keys) >= 4
    for key in keys:
        assert_sums_close(golden.losses[key], golden[f"stage1/{key}"])


def test_stage1_gradients(golden):
    gradients = to_published(golden.vae.network, golden.gradients)
    total = golden["stage1/grad_total_norm"]
    atol = 1e-6 * float(total)
    names = golden.json("stage1/grad_names")
    assert sorted(names) == sorted(gradients)
    norms = np.array([np.linalg.norm(gradients[name].ravel()) for name in names])
    np.testing.assert_allclose(
        norms, golden["stage1/grad_norms"], rtol=RTOL_GRADIENTS, atol=atol
    )
    np.testing.assert_allclose(np.linalg.norm(norms), total, rtol=RTOL_GRADIENTS)
    prefix = "stage1/grad/"
    for key in (key for key in golden.arrays if key.startswith(prefix)):
        np.testing.assert_allclose(
            gradients[key.removeprefix(prefix)],
            golden[key],
            rtol=RTOL_GRADIENTS,
            atol=atol,
            err_msg=key,
        )

"""The NVAE, its likelihoods and the stage-1 loss against the published implementation.

A fixture holds weights, images, noise, and what the published network makes of them
with running statistics (``eval/``), with batch statistics (``train/``), from given
latents (``sample/``), and the loss of stage 1 with its gradient (``stage1/``).
"""

import functools
import json
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.interop.nvae_args import vae_of
from lsgm.interop.nvae_names import from_published, layers, to_published
from lsgm.kl_balance import balance, group_weights
from lsgm.networks.nvae_decoder import Posterior
from lsgm.networks.posterior import MEAN_CLAMP
from lsgm.networks.spectral import scale_penalty, spectral_norm
from lsgm.numerics import soft_clamp, sum_per_example
from tests.conftest import golden_files

KL_COEFF = 0.3
WEIGHT_DECAY_NORM = 0.01
RTOL_OF_MAX = 2e-5
RTOL_SUMS = 1e-5
RTOL_GRADIENTS = 1e-4
MODES = ["eval", "train"]


def nhwc(x):
    return jnp.asarray(x.transpose(0, 2, 3, 1))


def nchw(x):
    return np.asarray(x).transpose(0, 3, 1, 2)


class Golden:
    """One fixture, the VAE that its config describes, and one pass per mode."""

    def __init__(self, file):
        with np.load(file) as arrays:
            self.arrays = dict(arrays)
        self.vae = vae_of(self.json("config"))
        self.params, self.mutables = from_published(self.vae, self.state())
        self.x = self.inner(nhwc(self["x"]))
        self.noise = self.groups("noise/group{}")

    def __getitem__(self, key):
        return self.arrays[key]

    def __contains__(self, key):
        return key in self.arrays

    def json(self, key):
        return json.loads(str(self[key]))

    def state(self):
        return {k[3:]: v for k, v in self.arrays.items() if k.startswith("sd/")}

    def groups(self, pattern):
        num = self.vae.network.num_groups
        return tuple(nhwc(self[pattern.format(k)]) for k in range(num))

    def inner(self, images):
        """Without the padding, [b h w c]."""
        p, (h, w, _) = self.vae.padding, self.vae.image_shape
        return images[:, p : p + h, p : p + w]

    def strided(self, images):
        """Every fourth pixel of the padded image that is an inner one, NCHW."""
        p, size = self.vae.padding, self.vae.image_shape[0]
        rows = np.arange(0, size + 2 * p, 4)
        rows = rows[(rows >= p) & (rows < p + size)]
        return nchw(images)[:, :, rows[:, None] - p, rows[None] - p], rows // 4

    @functools.cached_property
    def eval(self):
        """(inferred, raw posterior parameters by group) with running statistics."""
        return jax.jit(lambda params: self._infer(params, train=False))(self.params)

    @functools.cached_property
    def train(self):
        """The same with batch statistics."""
        return self._stage1[1]["pass"]

    @functools.cached_property
    def _stage1(self):
        return jax.jit(jax.grad(self._stage1_loss, has_aux=True))(self.params)

    @property
    def gradients(self):
        return self._stage1[0]

    @property
    def losses(self):
        return self._stage1[1]

    def _infer(self, params, *, train):
        raws = []

        def record(method, args, kwargs, context):
            out = method(*args, **kwargs)
            parent = context.module.parent
            name = (context.module.name, context.method_name)
            if isinstance(parent, Posterior) and name == ("conv", "__call__"):
                raws.append(out)
            return out

        with nn.intercept_methods(record):
            inferred = self.vae.infer(
                params, self.mutables, self.x, self.noise, train=train
            )
        return inferred, tuple(raws)

    def _stage1_loss(self, params):
        inferred, raws = self._infer(params, train=True)
        recon, kl = self.recon(inferred), self.kl(inferred)
        gammas = balance(kl, jnp.float32(KL_COEFF), self.weights())
        nelbo = jnp.mean(recon + KL_COEFF * jnp.sum(gammas[:, None] * kl, axis=0))
        norm, vectors = spectral_norm(inferred.kernels, self.vectors(inferred.kernels))
        bn = scale_penalty(inferred.scales)
        total = nelbo + WEIGHT_DECAY_NORM * (norm + bn)
        return total, {
            "pass": (inferred, raws),
            "nelbo_mean_kl_coeff0.3": nelbo,
            "norm_loss_4iter": norm,
            "bn_loss": bn,
            "total_wdn0.01": total,
            "vectors": vectors,
        }

    def recon(self, inferred):
        likelihood = self.vae.likelihood_of(inferred.out)
        return -sum_per_example(likelihood.log_prob(self.x))

    def kl_per_variable(self, inferred):
        return tuple(
            log_q + 0.5 * z**2 + 0.5 * math.log(2 * math.pi)
            for z, log_q in zip(inferred.z, inferred.log_q, strict=True)
        )

    def kl(self, inferred):
        """[groups b]."""
        return jnp.stack([*map(sum_per_example, self.kl_per_variable(inferred))])

    def weights(self):
        return group_weights(tuple(map(len, self.vae.latent_shapes)))

    def published_order(self, kernels):
        """Published names of the kernels by matrix shape, in our stacking's order."""
        names = {layer.path: layer.published for layer in layers(self.vae.network)}
        order = {}
        for path, kernel in jax.tree_util.tree_leaves_with_path(kernels):
            path = tuple(entry.key for entry in path if hasattr(entry, "key"))
            rows, cols = kernel.shape[-1], kernel.size // kernel.shape[-1]
            order.setdefault(f"{rows}x{cols}", []).append(names[path[:-1]])
        return order

    def vectors(self, kernels):
        """The stored start vectors, in our stacking's order."""
        start, vectors = {}, {}
        for i, group in enumerate(self.json("sr/groups")):
            start |= dict(zip(group["layers"], self[f"sr/u0_{i}"], strict=True))
        for shape, names in self.published_order(kernels).items():
            cols = int(shape.split("x")[1])
            u = jnp.stack([jnp.asarray(start[name]) for name in names])
            vectors[shape] = (u, jnp.zeros((len(names), cols)))
        assert sum(len(u) for u, _ in vectors.values()) == len(start)
        return vectors


@functools.cache
def load(file):
    return Golden(file)


@pytest.fixture(params=golden_files("vae_*.npz"))
def golden(request):
    return load(request.param)


def assert_close(ours, theirs):
    """Network outputs: within 2e-5 of the largest value."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(
        ours, theirs, rtol=0, atol=RTOL_OF_MAX * np.abs(theirs).max()
    )


def assert_sums_close(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=RTOL_SUMS)


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
        golden.vae.preprocess(jnp.asarray(levels)), golden.x, atol=1e-6
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
    for part, z in zip(golden.vae.split(z0), inferred.z, strict=False):
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


@pytest.mark.parametrize("mode", MODES)
def test_kl_balance(golden, mode):
    inferred, _ = getattr(golden, mode)
    kl = golden.kl(inferred)
    assert_sums_close(golden.weights(), golden[f"{mode}/kl_alpha_square"])
    gammas = balance(kl, jnp.float32(KL_COEFF), golden.weights())
    for key, gamma in (("balance1", gammas), ("balance0", jnp.ones_like(gammas))):
        prefix = f"{mode}/kl_coeff0.3_{key}"
        assert_sums_close(gamma, golden[f"{prefix}/kl_coeffs"])
        assert_sums_close(kl.mean(1), golden[f"{prefix}/kl_vals"])
        balanced = KL_COEFF * (gamma[:, None] * kl).sum(0)
        assert_sums_close(balanced, golden[f"{prefix}/balanced_kl"])


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
    deepest = len(golden.vae.latent_shapes[0])
    given = golden.groups("eval/group{}/latent")
    finer = tuple(0.8 * n for n in golden.noise[deepest:])
    cases = {
        "all_given": given,
        "top_scale_given_t0.8": given[:deepest] + finer,
        "none_given_t0.7": tuple(0.7 * n for n in golden.noise),
    }
    generate = jax.jit(
        lambda z: golden.vae.generate(golden.params, golden.mutables, z).mean()
    )
    for key, z in cases.items():
        theirs = golden.inner(nhwc(golden[f"sample/{key}"]))
        image = jnp.clip(0.5 * (generate(z) + 1), 0, 1)
        assert_close(nchw(image), nchw(theirs))


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
    for i, group in enumerate(golden.json("sr/groups")[:4]):
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


@pytest.mark.parametrize(
    "key", ["nelbo_mean_kl_coeff0.3", "norm_loss_4iter", "bn_loss", "total_wdn0.01"]
)
def test_stage1_loss(golden, key):
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

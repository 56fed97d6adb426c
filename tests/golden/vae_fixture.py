"""A VAE fixture: the VAE that its config describes, run once in each mode.

A fixture holds weights, images, noise, and what the published network makes of them
with running statistics (``eval/``), with batch statistics (``train/``), from given
latents (``sample/``), and the loss of stage 1 with its gradient (``stage1/``).
"""

import functools
import json
import math
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lsgm.interop.nvae_args import vae_of
from lsgm.interop.nvae_names import from_published, layers
from lsgm.networks.nvae_decoder import Posterior
from lsgm.networks.spectral import scale_penalty, spectral_norm
from lsgm.numerics import sum_per_example
from lsgm.objectives.kl_balance import balance, group_weights

# What a fixture of this kind holds.
VAE = ("config", "sd/*", "noise/group0", "eval/kl", "stage1/*")
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

    def number_in(self, pattern):
        """The number in the one key that has this form."""
        found = (re.fullmatch(pattern, key) for key in self.arrays)
        (number,) = {match[1] for match in found if match}
        return number

    @property
    def kl_coeff(self):
        """KL coefficient of the stored losses, as their keys spell it."""
        return self.number_in(r"stage1/nelbo_mean_kl_coeff([\d.]+)")

    @property
    def weight_decay(self):
        """Of the regularisers in the stored total, as its key spells it."""
        return self.number_in(r"stage1/total_wdn([\d.]+)")

    def groups(self, pattern):
        num = self.vae.network.num_groups
        return tuple(nhwc(self[pattern.format(k)]) for k in range(num))

    def inner(self, images):
        """Without the padding, [b h w c]."""
        p, (h, w, _) = self.vae.padding, self.vae.data_shape
        return images[:, p : p + h, p : p + w]

    def strided(self, images):
        """Every fourth pixel of the padded image that is an inner one, NCHW."""
        p, size = self.vae.padding, self.vae.data_shape[0]
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
        gammas = balance(kl, jnp.float32(self.kl_coeff), self.weights())
        coeff = float(self.kl_coeff)
        nelbo = jnp.mean(recon + coeff * jnp.sum(gammas[:, None] * kl, axis=0))
        norm, vectors = spectral_norm(inferred.kernels, self.vectors(inferred.kernels))
        bn = scale_penalty(inferred.scales)
        total = nelbo + float(self.weight_decay) * (norm + bn)
        return total, {
            "pass": (inferred, raws),
            f"nelbo_mean_kl_coeff{self.kl_coeff}": nelbo,
            "norm_loss_4iter": norm,
            "bn_loss": bn,
            f"total_wdn{self.weight_decay}": total,
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


def assert_close(ours, theirs):
    """Network outputs: within 2e-5 of the largest value."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(
        ours, theirs, rtol=0, atol=RTOL_OF_MAX * np.abs(theirs).max()
    )


def assert_sums_close(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=RTOL_SUMS)

"""Spectral norms and scale penalties of the published networks' own weights."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.networks import spectral
from lsgm.networks.layers import normalize_kernel
from tests.golden.files import fixtures_with

MASKED = "nf_cells"
FILES = fixtures_with("sr/groups", "sr/u0_0", "sd/*")


run = jax.jit(spectral.spectral_norm, static_argnums=2)


class Fixture:
    """The file's groups of layers with equal matrices, those that need no mask."""

    def __init__(self, path):
        with np.load(path) as arrays:
            self.arrays = dict(arrays)
        groups = json.loads(str(self.arrays["sr/groups"]))
        layers = {i: g["layers"] for i, g in enumerate(groups)}
        # The flows' kernels are masked before their norm is taken.
        masked = {i for i, names in layers.items() if any(MASKED in n for n in names)}
        self.groups = {i: names for i, names in layers.items() if i not in masked}
        self.whole = not masked

    def kernel(self, layer):
        """The kernel that ``layer`` applies, [kh kw in out]."""
        weight = self.arrays[f"sd/{layer}.weight"]
        kernel = jnp.asarray(weight.transpose(2, 3, 1, 0))
        gain = self.arrays.get(f"sd/{layer}.log_weight_norm")
        if gain is None:
            return kernel
        return normalize_kernel(kernel, jnp.asarray(gain.reshape(-1)))

    def shape(self, i):
        """Rows, columns and "rowsxcols" of a group's matrices."""
        kernel = self.kernel(self.groups[i][0])
        rows, cols = kernel.shape[-1], kernel.size // kernel.shape[-1]
        return rows, cols, f"{rows}x{cols}"

    def run(self, num_iters):
        kernels = [[self.kernel(n) for n in g] for g in self.groups.values()]
        vectors = {}
        for i, layers in self.groups.items():
            _, cols, name = self.shape(i)
            zeros = jnp.zeros((len(layers), cols))
            vectors[name] = (jnp.asarray(self.arrays[f"sr/u0_{i}"]), zeros)
        return run(kernels, vectors, num_iters)

    def columns(self, i, v):
        """Columns (kh, kw, in) in the published order (in, kh, kw)."""
        kh, kw, channels, _ = self.kernel(self.groups[i][0]).shape
        v = v.reshape(len(v), kh, kw, channels)
        return v.transpose(0, 3, 1, 2).reshape(len(v), -1)


@pytest.mark.parametrize("path", FILES)
def test_vectors_after_four_rounds(path):
    fixture = Fixture(path)
    _, vectors = fixture.run(4)
    recorded = [i for i in fixture.groups if f"sr/u_4_{i}" in fixture.arrays]
    assert recorded
    for i in recorded:
        u, v = vectors[fixture.shape(i)[2]]
        close = dict(rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(u, fixture.arrays[f"sr/u_4_{i}"], **close)
        stored = fixture.arrays[f"sr/v_4_{i}"]
        np.testing.assert_allclose(fixture.columns(i, v), stored, **close)


@pytest.mark.parametrize("path", FILES)
def test_sum_of_norms(path):
    fixture = Fixture(path)
    if not fixture.whole:
        pytest.skip("the file's sum has masked kernels in it")
    found = (re.fullmatch(r"sr/loss_(\d+)", key) for key in fixture.arrays)
    rounds = [int(match[1]) for match in found if match]
    assert rounds
    for num_iters in rounds:
        total, _ = fixture.run(num_iters)
        stored = fixture.arrays[f"sr/loss_{num_iters}"]
        np.testing.assert_allclose(total, stored, rtol=1e-5)


@pytest.mark.parametrize("path", FILES)
def test_scale_penalty(path):
    arrays = Fixture(path).arrays
    layers = json.loads(str(arrays["sr/bn_layers"]))
    scales = {name: jnp.asarray(arrays[f"sd/{name}.weight"]) for name in layers}
    np.testing.assert_allclose(
        spectral.scale_penalty(scales), arrays["sr/bn_loss"], rtol=1e-5
    )

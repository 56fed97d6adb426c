"""Spectral norms: against singular values, gradients, devices, no kernels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from lsgm.networks import spectral

# Two kernels of one matrix shape, a depthwise one, and one of a transposed shape.
SHAPES = {
    "a": (3, 3, 2, 4),
    "b": (3, 3, 2, 4),
    "depthwise": (5, 5, 1, 6),
    "wide": (1, 1, 4, 18),
}


@functools.cache
def kernels():
    """As a network sows them: tuples below names."""
    keys = jax.random.split(jax.random.key(0), len(SHAPES))
    return {
        name: {"kernel": (jax.random.normal(key, shape),)}
        for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)
    }


@functools.cache
def vectors():
    return jax.jit(spectral.init_vectors)(jax.random.key(1), kernels())


norm = jax.jit(spectral.spectral_norm, static_argnums=2)


def decompositions():
    """Singular value decomposition of every matrix [out, kh kw in]."""
    matrices = (np.asarray(k).reshape(-1, k.shape[-1]).T for k in leaves())
    return [np.linalg.svd(m, full_matrices=False) for m in matrices]


def leaves():
    return jax.tree.leaves(kernels())


def test_sum_converges_to_the_largest_singular_values():
    total, _ = norm(kernels(), vectors(), 300)
    expected = sum(s[0] for _, s, _ in decompositions())
    np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_estimate_rises_to_the_norm_from_below():
    """u^T W v of unit vectors never exceeds it, rounds never lower it."""
    exact = sum(s[0] for _, s, _ in decompositions())
    start = {
        name: tuple(jnp.ones_like(x) / jnp.sqrt(x.shape[1]) for x in uv)
        for name, uv in vectors().items()
    }
    sums = [norm(kernels(), start, n)[0] for n in (1, 2, 4, 16)]
    assert all(np.diff(sums) > 0)
    assert sums[-1] < exact * (1 + 1e-6)


def test_gradient_is_the_outer_product_of_singular_vectors():
    """Eq. (2): d sigma / dW = u v^T."""
    gradient = jax.jit(
        jax.grad(lambda k: spectral.spectral_norm(k, vectors(), 300)[0])
    )(kernels())
    expected = [u[:, :1] @ vt[:1] for u, _, vt in decompositions()]
    for g, outer in zip(jax.tree.leaves(gradient), expected, strict=True):
        matrix = g.reshape(-1, g.shape[-1]).T
        np.testing.assert_allclose(matrix, outer, atol=2e-3)


def test_no_gradient_passes_through_the_vectors():
    """With one round the estimate still depends on W through u and v."""
    one = jax.grad(lambda k: spectral.spectral_norm(k, vectors(), 1)[0])(kernels())
    _, new = spectral.spectral_norm(kernels(), vectors(), 1)
    u, v = new["6x25"]
    matrix = one["depthwise"]["kernel"][0].reshape(25, 6)
    np.testing.assert_allclose(matrix, jnp.outer(v[0], u[0]), rtol=1e-5, atol=1e-6)


def test_equal_matrix_shapes_are_stacked():
    shapes = jax.tree.map(jnp.shape, vectors(), is_leaf=lambda x: hasattr(x, "shape"))
    assert shapes == {
        "4x18": ((2, 4), (2, 18)),
        "6x25": ((1, 6), (1, 25)),
        "18x4": ((1, 18), (1, 4)),
    }


def test_vectors_follow_a_changing_kernel():
    """Four rounds a step, from the vectors of the step before."""
    moved, carried = kernels(), vectors()
    for step in range(30):
        moved = jax.tree.map(lambda k, s=step: k + 0.02 * jnp.sin(s + k), moved)
        total, carried = norm(moved, carried, 4)
    exact = sum(
        np.linalg.norm(np.asarray(k).reshape(-1, k.shape[-1]), 2)
        for k in jax.tree.leaves(moved)
    )
    np.testing.assert_allclose(total, exact, rtol=1e-2)


def test_a_zero_kernel_has_norm_and_gradient_zero():
    zero = {"k": jnp.zeros((3, 3, 2, 4))}
    start = spectral.init_vectors(jax.random.key(0), zero)
    value, gradient = jax.value_and_grad(lambda k: spectral.spectral_norm(k, start)[0])(
        zero
    )
    assert value == 0
    np.testing.assert_array_equal(gradient["k"], 0.0)


def test_no_kernels_no_penalty():
    total, new = spectral.spectral_norm(
        {}, spectral.init_vectors(jax.random.key(0), {})
    )
    assert total == 0 and new == {}
    assert spectral.scale_penalty({}) == 0


def test_scale_penalty_sums_each_layers_largest():
    scales = {"a": {"scale": (jnp.array([0.5, -2.0]),)}, "b": (jnp.array([1.0, 0.1]),)}
    assert spectral.scale_penalty(scales) == 3.0
    gradient = jax.grad(spectral.scale_penalty)(scales)
    np.testing.assert_array_equal(gradient["a"]["scale"][0], [0.0, -1.0])


def test_kernels_may_differ_between_devices():
    """Under shard_map, as in a training step, with its replication check on."""
    mesh = jax.make_mesh((2,), ("batch",))

    def step(kernels, vectors):
        local = jax.lax.pcast(kernels, "batch", to="varying")
        total, new = spectral.spectral_norm(local, vectors)
        return jax.lax.pmean((total, new), "batch")

    mapped = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(P(), P()), out_specs=P()))
    total, new = mapped(kernels(), vectors())
    expected, expected_new = norm(kernels(), vectors(), 4)
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), new, expected_new
    )

r"""Spectral norms of all convolutions at once, by power iteration.

A kernel [kh kw in out] is the matrix W of ``out`` rows and kh kw in columns, in is
1 for a depthwise one. Its largest singular value is estimated by

    v <- W^T u / max(|W^T u|, 1e-3),   u <- W v / max(|W v|, 1e-3),        (1)
    sigma = u^T W v,   d sigma / dW = u v^T,                               (2)

with u and v carried from step to step, so that a few rounds follow a slowly
changing W. No gradient passes through them. Kernels whose matrices have the same
shape are stacked and iterated together.

Sources: Yoshida and Miyato, arXiv 1705.10941; Miyato et al., arXiv 1802.05957;
its use in NVAE, arXiv 2007.03898, section 3.2.
"""

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.typing import Array, Float, PRNGKey

# By "rowsxcols": u [n rows] and v [n cols] of the n kernels of that matrix shape,
# in the order of the tree; columns in the order (kh, kw, in).
Vectors: TypeAlias = dict[str, tuple[Array, Array]]

MIN_NORM = 1e-3
INIT_ITERS = 40


@jax.jit
def init_vectors(key: PRNGKey, kernels: Any) -> Vectors:
    """Vectors for a tree of kernels: random directions, then 40 rounds of Eq. (1)."""
    stacks = _stacks(kernels)
    if not stacks:
        return {}
    sizes = [n * rows for n, _, rows in (s.shape for s in stacks.values())]
    # One draw, cut up: each further one adds a tenth of a second of compilation.
    cuts = np.cumsum(sizes)[:-1].tolist()
    directions = jnp.split(jax.random.normal(key, (sum(sizes),)), cuts)
    vectors = {}
    for (name, stack), u in zip(stacks.items(), directions, strict=True):
        n, cols, rows = stack.shape
        vectors[name] = (_normalize(u.reshape(n, rows)), jnp.zeros((n, cols)))
    return _iterate(stacks, vectors, INIT_ITERS)


def spectral_norm(
    kernels: Any, vectors: Vectors, num_iters: int = 4
) -> tuple[Float[Array, ""], Vectors]:
    """Sum of the kernels' spectral norms, and the vectors to go on from.

    Args:
      kernels: tree of [kh kw in out] whose shapes ``vectors`` was made for.
      num_iters: rounds of Eq. (1) before Eq. (2), at least one.
    """
    stacks = _stacks(kernels)
    vectors = _iterate(jax.lax.stop_gradient(stacks), vectors, num_iters)
    total = jnp.zeros(())
    for name, stack in stacks.items():
        total += jnp.einsum("ncr,nr,nc->", stack, *vectors[name])
    return total, vectors


def scale_penalty(scales: Any) -> Float[Array, ""]:
    """Sum over normalisation layers of the largest |scale|."""
    return sum((jnp.max(jnp.abs(s)) for s in jax.tree.leaves(scales)), jnp.zeros(()))


def _stacks(kernels: Any) -> dict[str, Array]:
    """W^T of all kernels, [n cols rows] by "rowsxcols", in fp32."""
    groups: dict[str, list[Array]] = {}
    for kernel in jax.tree.leaves(kernels):
        transposed = kernel.astype(jnp.float32).reshape(-1, kernel.shape[-1])
        cols, rows = transposed.shape
        groups.setdefault(f"{rows}x{cols}", []).append(transposed)
    return {name: jnp.stack(group) for name, group in groups.items()}


def _iterate(stacks: dict[str, Array], vectors: Vectors, num_iters: int) -> Vectors:
    def rounds(_: Any, vectors: Vectors) -> Vectors:
        return {name: _round(s, vectors[name][0]) for name, s in stacks.items()}

    # The first round outside: only from it on do the vectors, equal on all devices,
    # have the type of the stacks, which differ between devices under shard_map.
    return jax.lax.fori_loop(1, num_iters, rounds, rounds(0, vectors))


def _round(stack: Array, u: Array) -> tuple[Array, Array]:
    """Eq. (1) for W^T stacked in [n cols rows]: new (u, v)."""
    v = _normalize(jnp.einsum("ncr,nr->nc", stack, u))
    return _normalize(jnp.einsum("ncr,nc->nr", stack, v)), v


def _normalize(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=1, keepdims=True), MIN_NORM)

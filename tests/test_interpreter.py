"""NumPy gives what JAX gives, and nothing is compiled."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lsgm import interpreter
from lsgm.interpreter import evaluate
from lsgm.networks import layers, spectral
from tests.compiled import count_compilations

X = np.linspace(-2.0, 3.0, 12, dtype=np.float32).reshape(3, 4)
N = np.arange(12, dtype=np.int32).reshape(3, 4) - 5

# One function for each rule; those of numbers first.
FUNCTIONS = {
    "abs": (jnp.abs, X),
    "add": (lambda x: x + x[:1], X),
    "and": (lambda n: n & 6, N),
    "bitcast_convert_type": (lambda x: lax.bitcast_convert_type(x, jnp.int32), X),
    "bitcast of another size": (lambda x: lax.bitcast_convert_type(x, jnp.uint8), X),
    "broadcast_in_dim": (lambda x: jnp.broadcast_to(x[:, None], (3, 2, 4)), X),
    "concatenate": (lambda x: jnp.concatenate([x, 2 * x], 1), X),
    "convert_element_type": (lambda x: x.astype(jnp.int32), X),
    "copy": (jnp.copy, X),
    "comparisons": (lambda x: [x > 0, x >= 0, x < 1, x <= 1, x == 3, x != 3], X),
    "div": (lambda x: x / 3, X),
    "div of integers": (lambda n: lax.div(n, jnp.int32(3)), N),
    "dot_general": (lambda x: jnp.einsum("ab,cb->ca", x, 2 * x), X),
    "dot_general, batched": (lambda x: jnp.einsum("ab,ac->acb", x, 2 * x), X),
    "erf_inv": (lambda x: lax.erf_inv(x / 4), X),
    "exp": (jnp.exp, X),
    "integer_pow": (lambda x: [x**3, (x + 5) ** -2], X),
    "iota": (lambda x: x + lax.broadcasted_iota(jnp.float32, (3, 4), 1), X),
    "log": (lambda x: jnp.log(x + 5), X),
    "loop": (lambda x: lax.fori_loop(0, 3, lambda i, y: y * 2 + i, x), X),
    "max": (lambda x: jnp.maximum(x, 1.0), X),
    "min": (lambda x: jnp.minimum(x, 1.0), X),
    "neg": (jnp.negative, X),
    "not": (jnp.invert, N),
    "or": (lambda n: n | 9, N),
    "reduce_max": (lambda x: jnp.max(x, 1), X),
    "reduce_sum": (lambda x: jnp.sum(x, 0), X),
    "relu, a function with its own derivative": (jax.nn.relu, X),
    "reshape": (lambda x: x.reshape(2, 6), X),
    "scan": (lambda x: lax.scan(lambda c, row: (c + row, c * row), x[0], x), X),
    "scan, backwards": (
        lambda x: lax.scan(lambda c, r: (c * r, c), x[0], x, reverse=True),
        X,
    ),
    "select_n": (lambda x: jnp.where(x > 0, x, 2 * x), X),
    "shifts": (lambda n: [n.astype(jnp.uint32) >> 3, n << 2], N),
    "arithmetic shift": (lambda n: n >> 1, N),
    "sign": (jnp.sign, X),
    "slice": (lambda x: x[1:, ::2], X),
    "sort, which has no rule": (lambda x: jnp.sort(-x, 1), X),
    "split": (lambda x: jnp.split(x, [1, 3], 1), X),
    "sqrt": (lambda x: jnp.sqrt(x + 5), X),
    "squeeze": (lambda x: jnp.squeeze(x[:, :1], 1), X),
    "stack": (lambda x: jnp.stack([x, 2 * x], 1), X),
    "sub": (lambda x: x - 1, X),
    "transpose": (jnp.transpose, X),
    "xor": (lambda n: n ^ 5, N),
}


def assert_agree(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(
            np.asarray(a, float), np.asarray(b, float), rtol=3e-7, atol=1e-7
        )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_agrees_with_jax(name):
    fn, x = FUNCTIONS[name]
    assert_agree(evaluate(fn, x), fn(x))


@pytest.mark.parametrize("width", [8, 16, 32])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 30_000)])
def test_bits_are_those_of_jax(shape, width):
    key = jax.random.key(7)
    bits = interpreter.random_bits(key, shape, width)
    np.testing.assert_array_equal(bits, jax.random.bits(key, shape, f"uint{width}"))


def test_bits_of_64_are_those_of_jax(x64):
    key = jax.random.key(7)
    bits = interpreter.random_bits(key, (5,), 64)
    np.testing.assert_array_equal(bits, jax.random.bits(key, (5,), "uint64"))


def test_draws_are_those_of_jax():
    def draw(key):
        a, b, c, d = jax.random.split(jax.random.fold_in(key, 3), 4)
        return (
            jax.random.normal(a, (40,)),
            jax.random.truncated_normal(b, -2.0, 2.0, (40,)),
            jax.random.uniform(c, (3, 5), minval=-1.0),
            jax.random.permutation(d, 10),
            key,
        )

    assert_agree(evaluate(draw, jax.random.key(1)), draw(jax.random.key(1)))


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_other_generators_are_left_to_jax(impl):
    def draw(key):
        return jax.random.uniform(key, (3,))

    keys = [jax.random.key(1, impl=impl) for _ in range(2)]
    assert_agree(evaluate(draw, keys[0]), draw(keys[1]))


def test_drops_what_the_result_does_not_need():
    def fn(x):
        jax.pure_callback(lambda _: 1 / 0, jax.ShapeDtypeStruct((), jnp.float32), x)
        return 2 * x

    assert evaluate(fn, jnp.float32(3)) == 6


def test_is_a_plain_call_inside_of_another():
    def outer(x):
        return evaluate(lambda y: (y * 2, y), x)[0] + 1

    assert evaluate(outer, jnp.float32(3)) == 7
    assert jax.jit(outer)(3.0) == 7
    assert jax.eval_shape(outer, jnp.float32(3)).shape == ()


class _Net(nn.Module):
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        for width in self.widths:
            x = jax.nn.swish(layers.WNConv(width)(x))
        return x


def create(net, key):
    """Parameters of many shapes, an optimiser's zeros, power iterations."""
    params = net.init(key, jnp.zeros((1, 8, 8, 2)))["params"]
    kernels = [p["kernel"] for p in params.values()]
    zeros = jax.tree.map(jnp.zeros_like, params)
    return params, zeros, spectral.init_vectors(jax.random.fold_in(key, 1), kernels)


def test_new_shapes_compile_nothing():
    """But the quantiles of the normal distribution, for the iterations' directions."""
    evaluate(functools.partial(create, _Net((4,))), jax.random.key(0))
    with count_compilations() as compiled:
        fn = functools.partial(create, _Net((3, 5, 7, 11)))
        params, _, vectors = evaluate(fn, jax.random.key(0))
    assert compiled == ["jit(erf_inv)"]
    kernels = [p["kernel"] for p in params.values()]
    total, _ = spectral.spectral_norm(kernels, vectors, 1)
    largest = [
        np.linalg.svd(np.reshape(k, (-1, k.shape[-1])), compute_uv=False)[0]
        for k in kernels
    ]
    np.testing.assert_allclose(total, sum(largest), rtol=1e-2)

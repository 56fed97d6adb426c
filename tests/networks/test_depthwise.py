"""The two forms of a depthwise convolution are one function."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from lsgm.networks import depthwise


def data(size):
    x_key, k_key = jax.random.split(jax.random.key(0))
    x = jax.random.normal(x_key, (2, *size, 3))
    return x, jax.random.normal(k_key, (5, 5, 1, 3))


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_forms_agree_with_gradients(size, strides):
    """Eq. (1), its value and its transposes, also for odd sizes."""
    x, kernel = data(size)

    def value_and_gradients(form):
        def loss(x, kernel):
            y = form(x, kernel, strides)
            return jnp.sum(jnp.sin(y)), y

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(x, kernel)

    ours = value_and_gradients(depthwise.shifted)
    theirs = value_and_gradients(depthwise.grouped)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-4),
        ours,
        theirs,
    )


def test_single_tap_shifts_the_image():
    """Eq. (1) with the tap right of the centre: y[h, w] = x[h, w + 1]."""
    x, kernel = data((4, 6))
    kernel = jnp.zeros_like(kernel).at[2, 3].set(1.0)
    y = depthwise.shifted(x, kernel)
    np.testing.assert_array_equal(y[:, :, :-1], x[:, :, 1:])
    np.testing.assert_array_equal(y[:, :, -1], 0)


def test_gradient_of_a_shared_kernel_sums_over_devices():
    """Under shard_map's replication check, as the built-in convolution."""
    x, kernel = data((4, 4))
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))

    def gradient(form):
        def per_device(kernel, x):
            return jax.grad(lambda k: jnp.sum(jnp.sin(form(x, k))))(kernel)

        return jax.jit(
            jax.shard_map(
                per_device, mesh=mesh, in_specs=(P(), P("batch")), out_specs=P()
            )
        )(kernel, x)

    np.testing.assert_allclose(
        gradient(depthwise.shifted), gradient(depthwise.grouped), rtol=1e-4, atol=1e-4
    )

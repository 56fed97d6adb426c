"""The only place that maps an update over devices.

``update`` is written for one device with a named axis (``lsgm.training.step``).
State goes in and comes out without a device axis, replicated; batches gain one.
On several hosts each process passes the slice of the global batch that its own
devices work on.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from lsgm.typing import Batch

AXIS = "batch"


def pmap_update(update: Callable[..., Any]) -> Callable[..., Any]:
    """Map ``update(state, batch) -> (state, metrics)`` over all devices.

    The state's buffers are donated: the old state is gone after the call.
    """
    return jax.pmap(
        update,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None),
        donate_argnums=0,
    )


@functools.cache
def _sum_over_devices() -> Callable[[Any], jax.Array]:
    return jax.pmap(lambda x: jax.lax.psum(x, AXIS), axis_name=AXIS)


def any_process(flag: bool) -> jax.Array:
    """Larger than 0, [1], where ``flag`` is set in any process; each has to ask. The
    array is not waited for."""
    flags = np.full(jax.local_device_count(), flag, np.int32)
    return _sum_over_devices()(flags).addressable_data(0)


def replicate(state: Any) -> Any:
    """Place a state on all devices as ``pmap_update`` returns it; any other
    placement would have the first two calls compile for themselves. Every process
    passes the same state, and keeps it: the update gives copies away."""
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()), (AXIS,))
    sharding = NamedSharding(mesh, PartitionSpec())

    def place(leaf: Any) -> jax.Array:
        copies = [
            jax.device_put(leaf, device, may_alias=False)
            for device in jax.local_devices()
        ]
        return jax.make_array_from_single_device_arrays(leaf.shape, sharding, copies)

    return jax.tree.map(place, state)


def fetch(state: Any) -> Any:
    """A replicated state in the host's memory, in arrays of its own: the update gives
    the devices' buffers away. Keys stay where they are."""

    def copy(leaf: jax.Array) -> Any:
        own = leaf.addressable_data(0)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jnp.copy(own)
        return np.array(own)

    return jax.tree.map(copy, state)


def split_over_devices(batch: Batch) -> dict[str, np.ndarray]:
    """Entries [b ...] to [devices b/devices ...], for this process's devices."""
    devices = jax.local_device_count()
    return {
        name: values.reshape(devices, len(values) // devices, *values.shape[1:])
        for name, values in batch.items()
    }

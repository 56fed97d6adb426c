"""A network's calls, spread over this host's devices by examples."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lsgm.typing import Array, Params

AXIS = "batch"


def over_devices(
    apply: Callable[[Params, Array], Array],
    params: Params,
    batch_size: int,
    devices: Sequence[Any] | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """``images [n ...] -> features [n d]``, compiled once for all n.

    Every call of the network takes ``batch_size`` images, rounded up to as many for
    each device; a short last batch is filled up with copies.

    Args:
      apply: (params, images) -> features, example by example.
      devices: all of this host's, unless named.
    """
    mesh = Mesh(np.asarray(devices or jax.local_devices()), (AXIS,))
    split, whole = (NamedSharding(mesh, PartitionSpec(*a)) for a in ((AXIS,), ()))
    placed = jax.device_put(params, whole)
    compiled = jax.jit(apply, in_shardings=(whole, split), out_shardings=split)
    size = -(-batch_size // mesh.size) * mesh.size

    def call(images: np.ndarray) -> np.ndarray:
        found = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            filled = np.concatenate([batch, batch[:1].repeat(size - len(batch), 0)])
            features = compiled(placed, jax.device_put(filled, split))
            found.append(np.asarray(features)[: len(batch)])
        return np.concatenate(found)

    return call

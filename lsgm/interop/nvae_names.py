"""Published names and layouts of the NVAE's variables, both ways.

Encoder and decoder towers number residual cells and combiners in one list. Every
key is accounted for: a missing, surplus or wrongly shaped one is an error that
names it. Two kinds of entries repeat others or only count, and are passed over.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.interop import layouts
from lsgm.interop.layouts import Layout, TensorRule
from lsgm.networks.norm import BATCH_STATS
from lsgm.networks.nvae import NVAE
from lsgm.networks.nvae_encoder import Cell, Keep, Pyramid
from lsgm.typing import Params
from lsgm.vae import VAE

PARAMS = "params"


class PublishedLayer(NamedTuple):
    """One layer's published name, its path in our trees, and its kind, a key of
    ``VARIABLES``."""

    published: str
    path: tuple[str, ...]
    kind: str


_WEIGHT = ("weight", PARAMS, "kernel", Layout.CONV)
_GAIN = ("log_weight_norm", PARAMS, "log_gain", Layout.GAIN)
_BIAS = ("bias", PARAMS, "bias", Layout.SAME)
# By kind of layer, its variables: published name, collection, our name, layout.
VARIABLES = {
    "conv": (_WEIGHT,),
    "wn_conv": (_WEIGHT, _GAIN, _BIAS),
    "wn_conv_no_bias": (_WEIGHT, _GAIN),
    "dense": (("weight", PARAMS, "kernel", Layout.LINEAR), _BIAS),
    "norm": (
        ("weight", PARAMS, "scale", Layout.SAME),
        _BIAS,
        ("running_mean", BATCH_STATS, "mean", Layout.SAME),
        ("running_var", BATCH_STATS, "var", Layout.SAME),
    ),
}
# A plain convolution's weight is published twice; batches are counted.
PASSED_OVER = {"conv": "weight_normalized", "norm": "num_batches_tracked"}


def from_published(vae: VAE, state: Mapping[str, np.ndarray]) -> tuple[Params, Params]:
    """Parameters and ``{"batch_stats": ...}`` of ``vae`` from a state dictionary.

    Raises:
      ValueError: a key is missing, surplus, or its shape does not fit the network;
        or the network is no NVAE.
    """
    if not isinstance(vae.network, NVAE):
        raise ValueError(f"network = {vae.network!r}: published weights are an NVAE's")
    passed_over = {
        f"{layer.published}.{PASSED_OVER[layer.kind]}"
        for layer in layers(vae.network)
        if layer.kind in PASSED_OVER
    }
    state = {key: state[key] for key in state.keys() - passed_over}
    params, mutables = jax.eval_shape(vae.init, jax.random.key(0))
    tree = layouts.read(state, entries(vae.network), {PARAMS: params, **mutables})
    tree = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)
    return tree[PARAMS], {BATCH_STATS: tree[BATCH_STATS]}


def to_published(
    network: NVAE, params: Params, batch_stats: Params | None = None
) -> dict[str, np.ndarray]:
    """State dictionary of trees such as parameters, gradients, or running
    statistics (left out when None)."""
    tree = {PARAMS: params}
    if batch_stats is not None:
        tree[BATCH_STATS] = batch_stats
    known = [entry for entry in entries(network) if entry.path[0] in tree]
    return layouts.write(tree, known)


def entries(network: NVAE) -> Iterator[TensorRule]:
    """All variables, those of ``layers`` and the decoder's start."""
    yield TensorRule("prior_ftr0", (PARAMS, "decoder", "start"), Layout.MAP)
    for name, path, kind in layers(network):
        for published, collection, ours, layout in VARIABLES[kind]:
            yield TensorRule(f"{name}.{published}", (collection, *path, ours), layout)


def layers(network: NVAE) -> Iterator[PublishedLayer]:
    """All layers with variables."""
    yield PublishedLayer("stem", ("encoder", "stem"), "wn_conv")
    yield from _encoder_layers(network)
    yield from _decoder_layers(network)
    yield PublishedLayer("image_conditional.1", ("decoder", "head"), "wn_conv")


def _encoder_layers(network: NVAE) -> Iterator[PublishedLayer]:
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
            yield PublishedLayer(name, path, "wn_conv")
        elif isinstance(step, Pyramid) and step.name:
            part, name = "pyramid", f"progressive_input_cells.{index['pyramid']}.conv"
            yield from _bn_swish_conv(name, ("encoder", step.name))
        else:
            continue
        index[part] += 1


def _decoder_layers(network: NVAE) -> Iterator[PublishedLayer]:
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


def _group_layers(
    group: int, combiner: str, num_flows: int
) -> Iterator[PublishedLayer]:
    merge, posterior = f"merge_{group}", f"posterior_{group}"
    yield PublishedLayer(combiner, ("decoder", merge, "combiner"), "wn_conv")
    yield PublishedLayer(
        f"eps_conv.{group}", ("decoder", merge, "latent_conv"), "wn_conv"
    )
    yield PublishedLayer(
        f"enc_sampler.{group}.1", ("decoder", posterior, "conv"), "wn_conv"
    )
    names = (
        ("conv.convz.0", "expand", "wn_conv_no_bias"),
        ("conv.convz.2", "depthwise", "wn_conv_no_bias"),
        ("mu.conv_0", "reduce", "wn_conv"),
    )
    for i in range(num_flows):
        flow = f"nf_cells.{group * num_flows + i}"
        for cell, direction in (("cell1", "forward"), ("cell2", "backward")):
            path = ("decoder", posterior, f"flow_{i}", direction)
            for published, ours, kind in names:
                yield PublishedLayer(f"{flow}.{cell}.{published}", (*path, ours), kind)


def _cell_layers(
    name: str, path: tuple[str, ...], cell: Cell, network: NVAE
) -> Iterator[PublishedLayer]:
    if cell.kind == "down":
        for i in range(4):
            published = f"{name}.skip.conv_{i + 1}"
            yield PublishedLayer(published, (*path, "skip", f"conv_{i}"), "wn_conv")
    if cell.kind == "up":
        yield PublishedLayer(f"{name}.skip.1", (*path, "skip"), "wn_conv_no_bias")
    if cell.expansion:
        # An enlarging cell has the enlargement as entry 0 of the list.
        first = 1 if cell.kind == "up" else 0
        branch = (*path, "branch")
        yield from _inverted_residual(f"{name}._ops.0.conv", branch, first)
    else:
        for i in range(2):
            yield from _bn_swish_conv(f"{name}._ops.{i}", (*path, f"op_{i}"))
    if network.use_se:
        yield PublishedLayer(f"{name}.se.se.0", (*path, "se", "reduce"), "dense")
        yield PublishedLayer(f"{name}.se.se.2", (*path, "se", "expand"), "dense")


def _bn_swish_conv(name: str, path: tuple[str, ...]) -> Iterator[PublishedLayer]:
    yield PublishedLayer(f"{name}.bn_act", (*path, "norm"), "norm")
    yield PublishedLayer(f"{name}.conv_0", (*path, "conv"), "wn_conv")


def _inverted_residual(
    name: str, path: tuple[str, ...], first: int
) -> Iterator[PublishedLayer]:
    yield PublishedLayer(f"{name}.{first}.bn", (*path, "norm_in"), "norm")
    yield PublishedLayer(f"{name}.{first + 1}.conv.0", (*path, "expand"), "conv")
    yield PublishedLayer(f"{name}.{first + 1}.conv.1", (*path, "norm_expand"), "norm")
    yield PublishedLayer(f"{name}.{first + 2}.conv.0", (*path, "depthwise"), "conv")
    yield PublishedLayer(
        f"{name}.{first + 2}.conv.1", (*path, "norm_depthwise"), "norm"
    )
    yield PublishedLayer(f"{name}.{first + 3}", (*path, "project"), "conv")
    yield PublishedLayer(f"{name}.{first + 4}.bn", (*path, "norm_out"), "norm")

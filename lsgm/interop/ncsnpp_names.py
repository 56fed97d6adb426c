"""The published score network of LSGM: its arguments and its state dict, and ours.

The published state dict numbers the modules of the network in the order in which
they run. Ours have names, of which that order is a function: ``module_order``. The
mixing logit belongs to the same state dict, and to the same parameter group. In CLD's
state dicts random frequencies are a module with a number, the first.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lsgm.interop import layouts
from lsgm.interop.layouts import Layout, TensorRule

COMBINE = {"sum": "sum", "cat": "concat"}
PYRAMID = {"none": "none", "residual": "residual"}
PYRAMID_IN = PYRAMID | {"input_skip": "skip"}
PYRAMID_OUT = PYRAMID | {"output_skip": "skip"}
MULTIPLIERS = {
    "cifar10": {n: (1,) * n for n in (1, 2, 3)},
    "omniglot": {n: (1,) * n for n in (1, 2, 3)},
    "mnist": {2: (1, 1)},
    "256": {3: (1, 1, 1), 4: (1, 2, 2, 2), 5: (1, 1, 2, 2, 2)},
}

# Published name of each of our submodules, and the layout of its weight.
SUBMODULES = {
    "norm": ("GroupNorm_0", Layout.SAME),
    "norm_0": ("GroupNorm_0", Layout.SAME),
    "conv_0": ("Conv_0", Layout.CONV),
    "time": ("Dense_0", Layout.LINEAR),
    "norm_1": ("GroupNorm_1", Layout.SAME),
    "conv_1": ("Conv_1", Layout.CONV),
    "skip": ("Conv_2", Layout.CONV),
    "query": ("NIN_0", Layout.SAME),
    "key": ("NIN_1", Layout.SAME),
    "value": ("NIN_2", Layout.SAME),
    "out": ("NIN_3", Layout.SAME),
}


def channel_mult(args: Mapping[str, Any]) -> tuple[int, ...]:
    """Width multipliers, which the published code derives from the data set's name.

    Raises:
      ValueError: it has none for this data set and this number of levels.
    """
    dataset, levels = args["dataset"], args["num_scales_dae"]
    kind = "256" if dataset.endswith("256") or dataset == "ffhq" else dataset
    known = MULTIPLIERS.get(kind, {})
    if levels not in known:
        raise ValueError(
            f"dataset = {dataset!r} with num_scales_dae = {levels!r}: published are "
            + ", ".join(f"{k} with {[*v]}" for k, v in MULTIPLIERS.items())
        )
    return known[levels]


def network_piece(
    args: Mapping[str, Any], channel_mult: tuple[int, ...]
) -> dict[str, Any]:
    """Config piece of the network that published arguments describe."""
    kind = {"positional": "Positional", "fourier": "Fourier"}[args["embedding_type"]]
    dim = args["embedding_dim"]
    return {
        "target": "lsgm.networks.ncsnpp:NCSNpp",
        "channels": args["num_channels_dae"],
        "channel_mult": tuple(channel_mult),
        "blocks_per_level": args["num_cell_per_scale_dae"],
        "fir": bool(args["fir"]),
        "dropout": float(args["dropout"]),
        "embedding": {
            "target": f"lsgm.networks.embeddings:{kind}",
            "dim": dim,
            "scale": float(args["embedding_scale"]),
        },
        "time_channels": 4 * dim,
        "progressive_input": PYRAMID_IN[args["progressive_input"]],
        "progressive_output": PYRAMID_OUT[args["progressive"]],
        "progressive_combine": COMBINE[args["progressive_combine"]],
    }


def read(
    state: Mapping[str, np.ndarray],
    template: Mapping,
    *,
    fir: bool,
    numbered: bool = False,
) -> dict[str, Any]:
    """Parameters {"network": tree, "mixing_logit": [c]} from a ``dae_state_dict``.

    Args:
      template: that tree, of anything that has a shape; without "mixing_logit" for
        a network that was not mixed.
      fir: whether the network resamples with the filter.
      numbered: whether random frequencies have a number, as in CLD's files.

    Raises:
      ValueError: a tensor is missing, left over, or of another shape.
    """
    return layouts.read(state, entries(template, fir=fir, numbered=numbered), template)


def write(tree: Mapping, *, fir: bool, numbered: bool = False) -> dict[str, np.ndarray]:
    """Inverse of ``read``."""
    return layouts.write(tree, entries(tree, fir=fir, numbered=numbered))


def entries(tree: Mapping, *, fir: bool, numbered: bool = False) -> list[TensorRule]:
    """Where each tensor stands, in the order of the published state dict."""
    network = tree["network"]
    found = []
    if "mixing_logit" in tree:
        found.append(TensorRule("mixing_logit", ("mixing_logit",), Layout.CHANNEL))
    if "embedding" in network:
        path = ("network", "embedding", "frequencies")
        if numbered:
            found.append(TensorRule("all_modules.0.W", path, Layout.SAME))
        else:
            found.append(TensorRule("temb_fun.w", path, Layout.ROW))
    first = int(numbered and "embedding" in network)
    for i, name in enumerate(module_order(network), first):
        number, path = f"all_modules.{i}", ("network", name)
        found += module_entries(name, network[name], number, path, fir=fir)
    return found


def module_order(network: Mapping) -> list[str]:
    """Names of the network's modules in the order in which they run."""
    blocks = [re.fullmatch(r"up_(\d+)_(\d+)", name) for name in network]
    last = [max(int(block[k]) for block in blocks if block) for k in (1, 2)]
    return [name for name in _possible_modules(last[0] + 1, last[1]) if name in network]


def _possible_modules(levels: int, blocks: int) -> Iterator[str]:
    """What may run, in order; which of them a network has depends on its fields."""
    yield from ("time_0", "time_1", "stem")
    for i in range(levels):
        for j in range(blocks):
            yield from (f"down_{i}_{j}", f"down_{i}_{j}_attention")
        yield from (f"halve_{i}", f"input_{i}")
    yield from ("mid_0", "mid_attention", "mid_1")
    for i in reversed(range(levels)):
        yield from (f"up_{i}_{j}" for j in range(blocks + 1))
        yield from (f"up_{i}_attention", f"output_{i}_norm", f"output_{i}")
        yield f"double_{i}"
    yield from ("head_norm", "head")


def module_entries(
    name: str, module: Mapping, number: str, path: tuple[str, ...], *, fir: bool
) -> list[TensorRule]:
    """Entries of one module of the U-Net, ``name`` in ours and ``number`` in theirs.

    Args:
      path: of the module in our tree.
    """
    if "scale" in module:
        return pair(number, path, "scale", Layout.SAME)
    if "conv" in module:
        conv = "Conv2d_0" if fir else "Conv_0"
        return pair(f"{number}.{conv}", (*path, "conv"), "kernel", Layout.CONV)
    if "kernel" in module:
        published = f"{number}.Conv_0" if name.startswith("input_") else number
        layout = Layout.LINEAR if name.startswith("time_") else Layout.CONV
        return pair(published, path, "kernel", layout)
    found = []
    for part, (published, layout) in SUBMODULES.items():
        if part not in module:
            continue
        published, own = f"{number}.{published}", (*path, part)
        if "style" in module[part]:
            style = (*own, "style")
            found += pair(f"{published}.style", style, "kernel", Layout.LINEAR)
        else:
            weight = "scale" if part.startswith("norm") else "kernel"
            found += pair(published, own, weight, layout)
    return found


def pair(
    published: str, path: tuple[str, ...], weight: str, layout: Layout
) -> list[TensorRule]:
    """Entries of a weight and its bias."""
    names = ("W", "b") if ".NIN_" in published else ("weight", "bias")
    return [
        TensorRule(f"{published}.{names[0]}", (*path, weight), layout),
        TensorRule(f"{published}.{names[1]}", (*path, "bias"), Layout.SAME),
    ]

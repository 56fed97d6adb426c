"""The published denoising diffusion GAN: its arguments and its state dicts, and ours.

The generator numbers its modules in the order in which they run, as NCSN++ does
(``ncsnpp_names``); beside them stand the layers of its mapping network. Its adaptive
normalisations have one linear layer, whose outputs are scales, then shifts.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lsgm.interop import layouts
from lsgm.interop.layouts import Layout, TensorRule
from lsgm.interop.ncsnpp_names import (
    COMBINE,
    PYRAMID_IN,
    PYRAMID_OUT,
    module_entries,
    module_order,
    pair,
)

# Published number of normalisations per block that are adaptive, by the block's name.
ADAPTIVE_NORMS = {"biggan": 2, "biggan_oneadagn": 1}
# Widths of the discriminators' blocks, over ``ngf``, the first being the stem's.
WIDTHS = {"small": (2, 2, 4, 8, 8), "large": (2, 4, 8, 8, 8, 8, 8)}


def chain_piece(args: Mapping[str, Any]) -> dict[str, Any]:
    """Config piece of the chain that published arguments describe.

    Raises:
      KeyError: an argument is missing.
    """
    low, high = float(args["beta_min"]), float(args["beta_max"])
    if args.get("use_geometric", False):
        sde = {
            "target": "lsgm.sdes.geometric:GeometricVPSDE",
            "var_min": low,
            "var_max": high,
            "var_0": low,
        }
    else:
        sde = {"target": "lsgm.sdes.vpsde:VPSDE", "beta_0": low, "beta_1": high}
    return {
        "target": "lsgm.sdes.chain:Chain",
        "num_steps": int(args["num_timesteps"]),
        "sde": sde,
    }


def generator_piece(args: Mapping[str, Any]) -> dict[str, Any]:
    """Config piece of the generator.

    Raises:
      KeyError: an argument is missing.
      ValueError: the published code has this choice, but no network with it.
    """
    kind = args.get("resblock_type", "biggan")
    if kind not in ADAPTIVE_NORMS:
        known = ", ".join(ADAPTIVE_NORMS)
        raise ValueError(f"resblock_type = {kind!r}: known are {known}")
    embedding = args["embedding_type"]
    if embedding != "positional":
        raise ValueError(
            f"embedding_type = {embedding!r}: 'positional' is what the published "
            "models have, and a level 0 has no logarithm"
        )
    channels = args["num_channels_dae"]
    return {
        "target": "lsgm.networks.generator:Generator",
        "channels": channels,
        "channel_mult": tuple(args["ch_mult"]),
        "blocks_per_level": args["num_res_blocks"],
        "attention_resolutions": tuple(args["attn_resolutions"]),
        "fir": bool(args["fir"]),
        "dropout": float(args["dropout"]),
        "embedding": {
            "target": "lsgm.networks.embeddings:Positional",
            "dim": channels,
            "scale": 1.0,
        },
        "time_channels": 4 * channels,
        "progressive_input": PYRAMID_IN[args["progressive_input"]],
        "progressive_output": PYRAMID_OUT[args["progressive"]],
        "progressive_combine": COMBINE[args["progressive_combine"]],
        "latent_dim": args["nz"],
        "style_channels": args["z_emb_dim"],
        "mapping_layers": args["n_mlp"],
        "adaptive_norms": ADAPTIVE_NORMS[kind],
        "bounded": not args["not_use_tanh"],
    }


def discriminator_piece(args: Mapping[str, Any]) -> dict[str, Any]:
    """Config piece of the discriminator.

    Args:
      args: ``kind``, "small" or "large", ``ngf`` and ``t_emb_dim``.

    Raises:
      KeyError: an argument is missing, or the kind is another.
    """
    stem, *widths = (args["ngf"] * width for width in WIDTHS[args["kind"]])
    small = args["kind"] == "small"
    return {
        "target": "lsgm.networks.discriminator:Discriminator",
        "stem": stem,
        "widths": tuple(widths),
        "keep_first": small,
        "head_scale": 1e-10 if small else 1.0,
        "embedding": {
            "target": "lsgm.networks.embeddings:Positional",
            "dim": args["t_emb_dim"],
            "scale": 1.0,
        },
        "time_channels": args["t_emb_dim"],
    }


def read_generator(
    state: Mapping[str, np.ndarray], template: Mapping, *, fir: bool = True
) -> dict[str, Any]:
    """The generator's parameters from a published state dict.

    Args:
      template: that tree, of anything that has a shape.
      fir: whether the network resamples with the filter.

    Raises:
      ValueError: a tensor is missing, left over, or of another shape; names it.
    """
    return layouts.read(state, generator_entries(template, fir=fir), template)


def write_generator(tree: Mapping, *, fir: bool = True) -> dict[str, np.ndarray]:
    """Inverse of ``read_generator``."""
    return layouts.write(tree, generator_entries(tree, fir=fir))


def read_discriminator(
    state: Mapping[str, np.ndarray], template: Mapping
) -> dict[str, Any]:
    """The discriminator's parameters, as ``read_generator``."""
    return layouts.read(state, discriminator_entries(template), template)


def write_discriminator(tree: Mapping) -> dict[str, np.ndarray]:
    """Inverse of ``read_discriminator``."""
    return layouts.write(tree, discriminator_entries(tree))


def generator_entries(tree: Mapping, *, fir: bool) -> list[TensorRule]:
    """Where each tensor stands, in the order of the published state dict."""
    found = []
    for i, name in enumerate(module_order(tree)):
        number = f"all_modules.{i}"
        found += module_entries(name, tree[name], number, (name,), fir=fir)
    for i in range(len(tree["mapping"])):
        # Between linear layers stand swishes, and before the first a normalisation.
        path = ("mapping", f"linear_{i}")
        found += pair(f"z_transform.{2 * i + 1}", path, "kernel", Layout.LINEAR)
    return found


def discriminator_entries(tree: Mapping) -> list[TensorRule]:
    """As ``generator_entries``."""
    return [
        entry
        for published, path, layout in _discriminator_layers(tree)
        for entry in pair(published, path, "kernel", layout)
        if entry.path[-1] != "bias" or path[-1] != "skip"
    ]


def _discriminator_layers(
    tree: Mapping,
) -> Iterator[tuple[str, tuple[str, ...], Layout]]:
    """Published name, path and layout of each layer, in order."""
    yield "t_embed.main.0", ("time_0",), Layout.LINEAR
    yield "t_embed.main.2", ("time_1",), Layout.LINEAR
    yield "start_conv", ("stem",), Layout.CONV
    for i in range(sum(name.startswith("block_") for name in tree)):
        block, own = f"conv{i + 1}", f"block_{i}"
        yield f"{block}.conv1.0", (own, "conv_0"), Layout.CONV
        yield f"{block}.conv2.0", (own, "conv_1"), Layout.CONV
        yield f"{block}.dense_t1", (own, "time"), Layout.LINEAR
        yield f"{block}.skip.0", (own, "skip"), Layout.CONV
    yield "final_conv", ("head",), Layout.CONV
    yield "end_linear", ("logit",), Layout.LINEAR

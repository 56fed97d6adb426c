"""The VAE that a published run's arguments describe."""

import re
from collections.abc import Mapping
from typing import Any

from lsgm.config import build
from lsgm.vae import VAE

# Fields of the network whose published arguments differ by name only.
SAME = {
    "base_channels": "num_channels_enc",
    "num_scales": "num_latent_scales",
    "groups_per_scale": "num_groups_per_scale",
    "latents_per_group": "num_latent_per_group",
    "cells_per_group_encoder": "num_cell_per_cond_enc",
    "cells_per_group_decoder": "num_cell_per_cond_dec",
    "preprocess_blocks": "num_preprocess_blocks",
    "preprocess_cells": "num_preprocess_cells",
    "postprocess_cells": "num_postprocess_cells",
    "cell": "arch_instance",
    "num_flows": "num_nf",
}
LIKELIHOODS = {
    "bin": "lsgm.distributions:BernoulliLikelihood",
    "normal": "lsgm.distributions:NormalLikelihood",
    "dl": "lsgm.distributions:LogisticLikelihood",
    "dml": "lsgm.distributions:LogisticMixtureLikelihood",
}
# (image shape, padding); other data sets carry their size in their name.
IMAGES = {
    "mnist": ((28, 28, 1), 2),
    "omniglot": ((28, 28, 1), 2),
    "cifar10": ((32, 32, 3), 0),
}
# Arguments that files of the first releases lack.
_OLD_DEFAULTS = {"num_x_bits": 8, "channel_mult": (1, 2)}


def vae_of(args: Mapping[str, Any]) -> VAE:
    """The VAE of a published run, with the likelihood as published.

    Args:
      args: the checkpoint's ``args``, as a mapping.

    Raises:
      ValueError: an argument has a value that this package does not know.
    """
    return build(vae_piece(args))


def vae_piece(args: Mapping[str, Any]) -> dict[str, Any]:
    """Config piece of that VAE; raises as ``vae_of``."""
    args = {**_OLD_DEFAULTS, **args}
    image_shape, padding = _image(args["dataset"])
    likelihood = _likelihood(args["decoder_dist"], args["num_x_bits"])
    num_outputs = build(likelihood).num_outputs(image_shape[-1])
    return {
        "target": "lsgm.vae:VAE",
        "network": _network(args, num_outputs),
        "likelihood": likelihood,
        "data_shape": image_shape,
        "padding": padding,
    }


def _network(args: Mapping[str, Any], num_outputs: int) -> dict[str, Any]:
    before, after = args["num_preprocess_blocks"], args["num_postprocess_blocks"]
    if before != after:
        raise ValueError(
            f"num_postprocess_blocks = {after}: must equal num_preprocess_blocks = "
            f"{before}, or images come back in another size"
        )
    encoder, decoder = args["num_channels_enc"], args["num_channels_dec"]
    return {
        "target": "lsgm.networks.nvae:NVAE",
        "num_outputs": num_outputs,
        "base_channels_decoder": None if decoder == encoder else decoder,
        "channel_mult": tuple(args["channel_mult"]),
        "use_se": bool(args["use_se"]),
        "input_skip": _input_skip(args["progressive_input_vae"]),
        "log_std_clamp": float(args["log_sig_q_scale"]),
        **{ours: args[published] for ours, published in SAME.items()},
    }


def _input_skip(progressive: str) -> bool:
    allowed = {"none": False, "input_skip": True}
    if progressive not in allowed:
        raise ValueError(
            f"progressive_input_vae = {progressive!r}: allowed are {[*allowed]}"
        )
    return allowed[progressive]


def _image(dataset: str) -> tuple[tuple[int, int, int], int]:
    size = re.search(r"_(\d+)$", dataset)
    if dataset not in IMAGES and size is None:
        raise ValueError(
            f"dataset = {dataset!r}: allowed are {[*IMAGES]} and names that end in "
            "the images' size, such as celeba_256"
        )
    side = int(size[1]) if size else 0
    return IMAGES.get(dataset, ((side, side, 3), 0))


def _likelihood(decoder_dist: str, num_bits: int) -> dict[str, Any]:
    if decoder_dist not in LIKELIHOODS:
        allowed = [*LIKELIHOODS]
        raise ValueError(f"decoder_dist = {decoder_dist!r}: allowed are {allowed}")
    piece: dict[str, Any] = {"target": LIKELIHOODS[decoder_dist]}
    if decoder_dist != "bin":
        piece["num_bits"] = num_bits
    if decoder_dist in ("dl", "dml"):
        piece["reference_compatible"] = True
    return piece

"""The VAE that a published run's arguments describe."""

import re
from collections.abc import Mapping
from typing import Any

from lsgm.distributions import (
    BernoulliLikelihood,
    Likelihood,
    LogisticLikelihood,
    LogisticMixtureLikelihood,
    NormalLikelihood,
)
from lsgm.networks.nvae import NVAE
from lsgm.vae import VAE

# (image shape, padding); other data sets carry their size in their name.
_IMAGES = {
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
    args = {**_OLD_DEFAULTS, **args}
    image_shape, padding = _image(args["dataset"])
    likelihood = _likelihood(args["decoder_dist"], args["num_x_bits"])
    return VAE(
        network=_network(args, likelihood.num_outputs(image_shape[-1])),
        likelihood=likelihood,
        image_shape=image_shape,
        padding=padding,
    )


def _network(args: Mapping[str, Any], num_outputs: int) -> NVAE:
    for encoder, decoder in (
        ("num_channels_enc", "num_channels_dec"),
        ("num_preprocess_blocks", "num_postprocess_blocks"),
    ):
        if args[encoder] != args[decoder]:
            raise ValueError(
                f"{decoder} = {args[decoder]}: must equal {encoder} = {args[encoder]}"
            )
    return NVAE(
        base_channels=args["num_channels_enc"],
        channel_mult=tuple(args["channel_mult"]),
        num_scales=args["num_latent_scales"],
        groups_per_scale=args["num_groups_per_scale"],
        latents_per_group=args["num_latent_per_group"],
        num_outputs=num_outputs,
        cells_per_group_encoder=args["num_cell_per_cond_enc"],
        cells_per_group_decoder=args["num_cell_per_cond_dec"],
        preprocess_blocks=args["num_preprocess_blocks"],
        preprocess_cells=args["num_preprocess_cells"],
        postprocess_cells=args["num_postprocess_cells"],
        cell=args["arch_instance"],
        use_se=args["use_se"],
        num_flows=args["num_nf"],
        input_skip=_input_skip(args["progressive_input_vae"]),
        log_std_clamp=args["log_sig_q_scale"],
    )


def _input_skip(progressive: str) -> bool:
    allowed = {"none": False, "input_skip": True}
    if progressive not in allowed:
        raise ValueError(
            f"progressive_input_vae = {progressive!r}: allowed are {[*allowed]}"
        )
    return allowed[progressive]


def _image(dataset: str) -> tuple[tuple[int, int, int], int]:
    size = re.search(r"_(\d+)$", dataset)
    if dataset not in _IMAGES and size is None:
        raise ValueError(
            f"dataset = {dataset!r}: allowed are {[*_IMAGES]} and names that end in "
            "the images' size, such as celeba_256"
        )
    side = int(size[1]) if size else 0
    return _IMAGES.get(dataset, ((side, side, 3), 0))


def _likelihood(decoder_dist: str, num_bits: int) -> Likelihood:
    published = {
        "bin": lambda: BernoulliLikelihood(),
        "normal": lambda: NormalLikelihood(num_bits=num_bits),
        "dl": lambda: LogisticLikelihood(num_bits=num_bits, reference_compatible=True),
        "dml": lambda: LogisticMixtureLikelihood(
            num_bits=num_bits, reference_compatible=True
        ),
    }
    if decoder_dist not in published:
        raise ValueError(f"decoder_dist = {decoder_dist!r}: allowed are {[*published]}")
    return published[decoder_dist]()

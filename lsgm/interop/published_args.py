"""A VAE and a score prior of ours in the published arguments: what an export says.

Every translation is taken back and compared: what the published code has no argument
for is an error that names the field.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from lsgm.config import build
from lsgm.interop import ncsnpp_names, nvae_args, published_config
from lsgm.networks.embeddings import Positional
from lsgm.networks.ncsnpp import NCSNpp
from lsgm.networks.nvae import NVAE
from lsgm.priors.score import ScorePrior
from lsgm.vae import VAE

# Fields that say how something is computed, not what. Attention is compared by
# resolution; times only steer the training; a decoder may name its encoder's width.
INDIFFERENT = {
    "base_channels_decoder",
    *("remat", "dtype", "axis_name", "reference_compatible", "attention_resolutions"),
    *("sampler", "boundary_term", "control_variate", "weighting"),
    *("time_sampler", "encoder_times", "mixing_logit_init", "dropout"),
}
ATTENTION = 16


def args_of(vae: VAE, prior: ScorePrior | None) -> dict[str, Any]:
    """Published arguments of these models.

    Raises:
      ValueError: the published code cannot express them; names the field.
    """
    if not isinstance(vae.network, NVAE):
        raise ValueError(
            f"vae.network: {type(vae.network).__name__}, published is NVAE"
        )
    candidates = list(datasets(vae))
    if not candidates:
        raise ValueError(
            f"vae.data_shape = {vae.data_shape!r}, padding = {vae.padding}: no "
            "published data set has such images"
        )
    args = vae_args(vae, candidates[0])
    require_same(vae, nvae_args.vae_of(args), "vae")
    if prior is None:
        return args
    _check_prior(prior, vae.prior_shape[0])
    args |= prior_args(prior)
    for dataset in candidates:
        args["dataset"] = dataset
        if _multipliers(args) == tuple(prior.network.channel_mult):
            require_same(prior, build(published_config.prior_piece(args)), "prior")
            return args
    raise ValueError(
        f"prior.network.channel_mult = {prior.network.channel_mult!r}: the published "
        f"code has other widths for {' or '.join(candidates)}"
    )


def datasets(vae: VAE) -> Iterator[str]:
    """Published data sets with images of this shape."""
    for name, (shape, padding) in nvae_args.IMAGES.items():
        if (tuple(vae.data_shape), vae.padding) == (shape, padding):
            yield name
    size, width, channels = vae.data_shape
    if size == width and channels == 3 and not vae.padding:
        yield f"celeba_{size}"


def vae_args(vae: VAE, dataset: str) -> dict[str, Any]:
    """Arguments of the VAE."""
    network, likelihood = vae.network, vae.likelihood
    decoder_dist = name_class(nvae_args.LIKELIHOODS, likelihood, "vae.likelihood")
    return {
        "dataset": dataset,
        "decoder_dist": decoder_dist,
        # Bits of the stored image; binary ones are drawn from eight.
        "num_x_bits": 8 if decoder_dist == "bin" else likelihood.num_bits,
        "channel_mult": list(network.channel_mult),
        "use_se": network.use_se,
        "progressive_input_vae": "input_skip" if network.input_skip else "none",
        "log_sig_q_scale": network.log_std_clamp,
        "num_channels_dec": network.decoder_channels,
        "num_postprocess_blocks": network.preprocess_blocks,
        **{name: getattr(network, field) for field, name in nvae_args.SAME.items()},
    }


def prior_args(prior: ScorePrior) -> dict[str, Any]:
    """Arguments of the prior, the data set's name excepted."""
    network, sde = prior.network, prior.sde
    embedding = "positional" if isinstance(network.embedding, Positional) else "fourier"
    published = {
        "num_channels_dae": network.channels,
        "num_scales_dae": len(network.channel_mult),
        "num_cell_per_scale_dae": network.blocks_per_level,
        "fir": network.fir,
        "dropout": network.dropout,
        "embedding_type": embedding,
        "embedding_dim": network.embedding.dim,
        "embedding_scale": network.embedding.scale,
        **pyramid_args(network),
        "mixed_prediction": prior.mixed,
        "mixing_logit_init": prior.mixing_logit_init,
    }
    process = {
        "sde_type": name_class(published_config.SDES, sde, "prior.sde"),
        "sigma2_0": getattr(sde, "var_0", getattr(sde, "var_min", 0.0)),
        "sigma2_min": getattr(sde, "var_min", 1e-4),
        "sigma2_max": getattr(sde, "var_max", 0.99),
        "beta_start": getattr(sde, "beta_0", 0.1),
        "beta_end": getattr(sde, "beta_1", 20.0),
        # How training drew its times is of no consequence for a trained model.
        "time_eps": prior.time_sampler.t_min,
        "iw_sample_p": "ll_iw",
        "iw_sample_q": published_config.SAME_DRAWS,
    }
    return published | process


def pyramid_args(network: Any) -> dict[str, str]:
    """Names of the network's input and output pyramids."""
    return {
        "progressive": name_value(ncsnpp_names.PYRAMID_OUT, network.progressive_output),
        "progressive_input": name_value(
            ncsnpp_names.PYRAMID_IN, network.progressive_input
        ),
        "progressive_combine": name_value(
            ncsnpp_names.COMBINE, network.progressive_combine
        ),
    }


def _check_prior(prior: Any, resolution: int) -> None:
    if not isinstance(prior, ScorePrior) or not isinstance(prior.network, NCSNpp):
        raise ValueError(f"prior = {prior!r}: published is a score prior with NCSN++")
    network = prior.network
    heights = {resolution >> level for level in range(len(network.channel_mult))}
    attended = heights.intersection(network.attention_resolutions)
    if attended != heights & {ATTENTION}:
        raise ValueError(
            f"prior.network.attention_resolutions = {network.attention_resolutions!r}: "
            f"published is attention at {ATTENTION} only"
        )


def _multipliers(args: Mapping[str, Any]) -> tuple[int, ...] | None:
    try:
        return ncsnpp_names.channel_mult(args)
    except ValueError:
        return None


def name_class(targets: Mapping[str, str], value: Any, key: str) -> str:
    """The published name of the class of ``value``."""
    target = f"{type(value).__module__}:{type(value).__name__}"
    if target not in targets.values():
        known = ", ".join(targets.values())
        raise ValueError(f"{key} = {value!r}: published are {known}")
    return name_value(targets, target)


def name_value(names: Mapping[str, str], value: str) -> str:
    """The published name of ``value``, by a table that has ours for each of theirs."""
    return {ours: published for published, ours in names.items()}[value]


def require_same(ours: Any, theirs: Any, key: str) -> None:
    """Raise ValueError for the first field that the translation has not kept."""
    if isinstance(ours, float) and isinstance(theirs, float):
        # A quotient or a difference taken back may be off by its rounding.
        same = math.isclose(ours, theirs, rel_tol=1e-12)
    elif not dataclasses.is_dataclass(ours):
        same = ours == theirs
    elif type(ours) is not type(theirs):
        same = False
    else:
        names = {f.name for f in dataclasses.fields(ours)}
        for name in sorted(names - INDIFFERENT - {"parent", "name"}):
            require_same(getattr(ours, name), getattr(theirs, name), f"{key}.{name}")
        return
    if not same:
        raise ValueError(f"{key} = {ours!r}: the published code has {theirs!r} only")

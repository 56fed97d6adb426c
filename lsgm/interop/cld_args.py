"""A score prior of ours on images in the arguments of CLD's code: what an export says.

As for LSGM's (``lsgm.interop.published_args``), the translation is taken back and
compared.
"""

from typing import Any

from lsgm.config import build
from lsgm.interop import cld_config
from lsgm.interop.published_args import name_class, pyramid_args, require_same
from lsgm.networks.embeddings import Fourier
from lsgm.networks.ncsnpp import NCSNpp
from lsgm.priors.score import ScorePrior
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.cld import CLD
from lsgm.vae import VAE

# Of the published ODE, where ours is another sampler.
SAMPLING = ProbabilityFlow(rtol=1e-5, atol=1e-5, t_end=1e-3)


def args_of(vae: VAE, prior: ScorePrior) -> dict[str, Any]:
    """Published arguments of a prior on images.

    Args:
      vae: the identity, whose images they are.

    Raises:
      ValueError: the published code cannot express it; names the field.
    """
    height, width, channels = vae.data_shape
    if height != width:
        raise ValueError(
            f"vae.data_shape = {vae.data_shape!r}: published are square images"
        )
    if not isinstance(prior.sde, CLD):
        raise ValueError(f"prior.sde = {prior.sde!r}: published is CLD")
    if not isinstance(prior.network, NCSNpp):
        kind = type(prior.network).__name__
        raise ValueError(f"prior.network: {kind}, published is NCSNpp")
    args = (
        cld_config.COMMON
        | _process_args(prior, prior.sde)
        | _network_args(prior.network)
    )
    args |= {"image_size": height, "image_channels": channels}
    require_same(prior, build(cld_config.prior_piece(args)), "prior")
    return args


def _process_args(prior: ScorePrior, sde: CLD) -> dict[str, Any]:
    sampler = prior.sampler
    if not isinstance(sampler, ProbabilityFlow):
        sampler = SAMPLING
    return {
        "beta0": sde.beta_0,
        "beta1": sde.beta_1 - sde.beta_0,
        "m_inv": 1 / sde.mass,
        "gamma": sde.gamma,
        "numerical_eps": sde.added_var,
        "cld_objective": "hsm" if prior.hybrid else "dsm",
        "weighting": name_class(
            cld_config.WEIGHTINGS, prior.weighting, "prior.weighting"
        ),
        "mixed_score": prior.base_added,
        "loss_eps": prior.time_sampler.t_min,
        "sampling_rtol": sampler.rtol,
        "sampling_atol": sampler.atol,
        "sampling_eps": sampler.t_end,
    }


def _network_args(network: NCSNpp) -> dict[str, Any]:
    fourier = isinstance(network.embedding, Fourier)
    return {
        "n_channels": network.channels,
        "ch_mult": _text(network.channel_mult),
        "n_resblocks": network.blocks_per_level,
        "attn_resolutions": _text(network.attention_resolutions),
        "use_fir": network.fir,
        "dropout": network.dropout,
        "embedding_type": "fourier" if fourier else "positional",
        "fourier_scale": network.embedding.scale if fourier else 16.0,
        **pyramid_args(network),
    }


def _text(numbers: tuple[int, ...]) -> str:
    """As the published text files have it."""
    return ",".join(map(str, numbers))

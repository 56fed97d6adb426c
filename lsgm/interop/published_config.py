"""A published run's arguments as a config of ours, to sample and to evaluate with.

Its stage is marked ``reference_compatible``. Optimisers, batch size and seed are
nominal: a file has weights, not the state that training would go on from.
"""

from collections.abc import Mapping
from typing import Any

from lsgm.config import build
from lsgm.interop import ncsnpp_names, nvae_args

SDES = {
    "vpsde": "lsgm.sdes.vpsde:VPSDE",
    "geometric_sde": "lsgm.sdes.geometric:GeometricVPSDE",
    "sub_vpsde": "lsgm.sdes.subvpsde:SubVPSDE",
    "vesde": "lsgm.sdes.vesde:VESDE",
}
WEIGHTINGS = {
    "ll": "lsgm.objectives.weighting:LikelihoodWeighting",
    "drop_all": "lsgm.objectives.weighting:Unweighted",
    "drop_sigma2t": "lsgm.objectives.weighting:Reweighted",
    "rescale": "lsgm.objectives.weighting:Rescaled",
}
# Those that need no file of the user's.
MEASURES = (
    "lsgm.evaluation.measures.bound:HeldOutBound",
    "lsgm.evaluation.measures.sampling:SamplingCost",
    "lsgm.evaluation.measures.pictures:Pictures",
    "lsgm.evaluation.measures.latents:LatentStatistics",
)
SAME_DRAWS = "reweight_p_samples"
# Names of data sets in TFDS's manner, where they are others; see docs/data.md.
DATASETS = {"omniglot": "omniglot28", "celeba_256": "celeba_hq_256"}
VAE_ARGS = (
    "dataset",
    "decoder_dist",
    "use_se",
    "log_sig_q_scale",
    "progressive_input_vae",
    "num_channels_dec",
    "num_postprocess_blocks",
    *nvae_args.SAME.values(),
)
PRIOR_ARGS = (
    *("sde_type", "sigma2_0", "sigma2_min", "sigma2_max", "beta_start", "beta_end"),
    *("time_eps", "iw_sample_p", "iw_sample_q"),
    *("num_channels_dae", "num_scales_dae", "num_cell_per_scale_dae"),
    *("fir", "dropout", "embedding_type", "embedding_dim", "embedding_scale"),
    *("progressive", "progressive_input", "progressive_combine"),
)


def config_of(
    args: Mapping[str, Any], step: int, *, with_prior: bool
) -> dict[str, Any]:
    """The config of one stage, "lsgm", or "vae" without a prior.

    Args:
      args: as in the published file.
      step: updates made.

    Raises:
      ValueError: an argument is missing or has a value that is not known here.
    """
    needed = VAE_ARGS + (PRIOR_ARGS if with_prior else ())
    if absent := [name for name in needed if name not in args]:
        raise ValueError(f"arguments of the run lack {', '.join(absent)}")
    vae = nvae_args.vae_piece(args)
    name = "lsgm" if with_prior else "vae"
    groups = ("vae", "prior") if with_prior else ("vae",)
    adam = {"target": "lsgm.training.optim:Adam", "lr": 1e-4}
    stage = {
        "target": "lsgm.training.stage:Stage",
        "prior": prior_piece(args) if with_prior else _normal(),
        "optimizers": {group: adam for group in groups},
        "kl": {"target": "lsgm.objectives.kl_balance:KLSchedule"},
        "num_steps": max(step, 1),
        "batch_size": 64,
        "reference_compatible": True,
    }
    return {
        "seed": 0,
        "data": _data(args["dataset"], vae),
        "vae": vae,
        "stage_order": (name,),
        "stages": {name: stage},
        "evaluation": {
            "target": "lsgm.evaluation.settings:Evaluation",
            "measures": tuple({"target": target} for target in MEASURES),
            "monitor_split": "test",
            "baseline_split": "test",
            "reference_split": "train",
            "batch_statistics": args["dataset"].endswith("256"),
        },
    }


def prior_piece(args: Mapping[str, Any]) -> dict[str, Any]:
    """The score prior; its sampler is the published ODE at tolerance 1e-5."""
    widths = ncsnpp_names.channel_mult(args)
    weighting, times = objective(args["iw_sample_p"], args["time_eps"])
    same = args["iw_sample_q"] == SAME_DRAWS
    encoder = None if same else objective(args["iw_sample_q"], args["time_eps"])[1]
    return {
        "target": "lsgm.priors.score:ScorePrior",
        "sde": sde_piece(args),
        "network": ncsnpp_names.network_piece(args, widths),
        "weighting": weighting,
        "time_sampler": times,
        "encoder_times": encoder,
        "mixed": bool(args.get("mixed_prediction", True)),
        "mixing_logit_init": float(args.get("mixing_logit_init", -3.0)),
        "sampler": {
            "target": "lsgm.samplers.probability_flow:ProbabilityFlow",
            "rtol": 1e-5,
            "atol": 1e-5,
            "t_end": 1e-6 if args["dataset"] == "cifar10" else 1e-5,
        },
    }


def sde_piece(args: Mapping[str, Any]) -> dict[str, Any]:
    """The diffusion process."""
    kind = args["sde_type"]
    if kind not in SDES:
        raise ValueError(f"sde_type = {kind!r}: allowed are {', '.join(SDES)}")
    linear = {"beta_0": args["beta_start"], "beta_1": args["beta_end"]}
    variances = {"var_min": args["sigma2_min"], "var_max": args["sigma2_max"]}
    fields = linear if kind in ("vpsde", "sub_vpsde") else variances
    start = {} if kind == "vesde" else {"var_0": args["sigma2_0"]}
    return {"target": SDES[kind], **fields, **start}


def objective(mode: str, t_min: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weighting and time sampler that the published name of a mode stands for."""
    name, _, times = mode.rpartition("_")
    if name not in WEIGHTINGS or times not in ("iw", "uniform"):
        known = ", ".join(f"{w}_iw, {w}_uniform" for w in WEIGHTINGS)
        raise ValueError(f"{mode!r} is no published objective: allowed are {known}")
    weighting = {"target": WEIGHTINGS[name]}
    # The published name notwithstanding, times of this one are uniform.
    if times == "uniform" or name == "rescale":
        sampler: dict[str, Any] = {"target": "lsgm.objectives.time_sampling:Uniform"}
    else:
        sampler = {
            "target": "lsgm.objectives.time_sampling:Importance",
            "weighting": weighting,
        }
    return weighting, {**sampler, "t_min": t_min}


def _normal() -> dict[str, Any]:
    return {"target": "lsgm.priors.normal:StandardNormal"}


def _data(dataset: str, vae: Mapping[str, Any]) -> dict[str, Any]:
    bits = build(vae["likelihood"]).num_bits
    return {
        "target": "lsgm.data.images:Images",
        "source": {
            "target": "lsgm.data.sources.tfds_source:TFDS",
            "dataset": DATASETS.get(dataset, dataset),
        },
        "image_shape": vae["data_shape"],
        "num_bits": bits,
        "binarize": "dynamic" if bits == 1 else "none",
    }

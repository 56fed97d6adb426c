"""Arguments of a published denoising diffusion GAN as a config of ours.

Optimisers, batch size and seed are nominal: to sample and to evaluate, not to go on.
"""

from collections.abc import Mapping
from typing import Any

from lsgm.interop import ddgan_names

# By the published name of the data set: TFDS's, and which discriminator it has.
DATASETS = {
    "cifar10": ("cifar10", "small"),
    "stackmnist": ("stacked_mnist", "small"),
    "lsun": ("lsun_church_256", "large"),
    "celeba_256": ("celeba_hq_256", "large"),
}
NEEDED = (
    *("dataset", "image_size", "num_channels", "num_timesteps", "beta_min", "beta_max"),
    *("num_channels_dae", "ch_mult", "num_res_blocks", "attn_resolutions", "fir"),
    *("dropout", "embedding_type", "progressive", "progressive_input"),
    *("progressive_combine", "nz", "z_emb_dim", "n_mlp", "not_use_tanh"),
    *("ngf", "t_emb_dim"),
)
MEASURES = (
    "lsgm.evaluation.measures.sampling:SamplingCost",
    "lsgm.evaluation.measures.pictures:Pictures",
)


def config_of(args: Mapping[str, Any], step: int) -> dict[str, Any]:
    """The config of one stage, "prior", on the images themselves.

    Args:
      args: as in the published file.
      step: updates made.

    Raises:
      ValueError: an argument is missing or has a value that is not known here.
    """
    if absent := [name for name in NEEDED if name not in args]:
        raise ValueError(f"arguments of the run lack {', '.join(absent)}")
    if args["dataset"] not in DATASETS:
        raise ValueError(
            f"dataset = {args['dataset']!r}: published are {', '.join(DATASETS)}"
        )
    dataset, kind = DATASETS[args["dataset"]]
    shape = (args["image_size"], args["image_size"], args["num_channels"])
    adam = {"target": "lsgm.training.optim:Adam", "lr": 1e-4}
    return {
        "seed": 0,
        "data": {
            "target": "lsgm.data.images:Images",
            "source": {
                "target": "lsgm.data.sources.tfds_source:TFDS",
                "dataset": dataset,
            },
            "image_shape": shape,
        },
        "vae": {
            "target": "lsgm.vae:IdentityVAE",
            "data_shape": shape,
            "likelihood": {"target": "lsgm.data_space:RoundingLikelihood"},
        },
        "stage_order": ("prior",),
        "stages": {
            "prior": {
                "target": "lsgm.training.stage:Stage",
                "prior": prior_piece(dict(args) | {"kind": kind}),
                "optimizers": {"generator": adam, "discriminator": adam},
                "num_steps": max(step, 1),
                "batch_size": 64,
            }
        },
        "evaluation": {
            "target": "lsgm.evaluation.settings:Evaluation",
            "measures": tuple({"target": target} for target in MEASURES),
            "monitor_split": "test",
            "baseline_split": "test",
            "reference_split": "train",
        },
    }


def prior_piece(args: Mapping[str, Any]) -> dict[str, Any]:
    """The prior.

    Args:
      args: with ``kind``, "small" or "large", the discriminator's.
    """
    every = args.get("lazy_reg") or 1
    return {
        "target": "lsgm.priors.ddgan:DenoisingGAN",
        "chain": ddgan_names.chain_piece(args),
        "generator": ddgan_names.generator_piece(args),
        "discriminator": ddgan_names.discriminator_piece(args),
        "r1": {
            "target": "lsgm.objectives.adversarial:LazyR1",
            # The published penalty lacks the factor of its period.
            "gamma": float(args.get("r1_gamma", 0.0)) / every,
            "every": every,
        },
    }

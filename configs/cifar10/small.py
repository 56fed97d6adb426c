"""CIFAR-10 through TFDS: a small colour LSGM, for a day on one GPU.

    python -m experiments.prepare_data --help          # once, see docs/data.md
    python -m experiments.train --config=configs/cifar10/small.py --workdir=runs/cifar10

32x32 colour images at 8 bits; NVAE with four groups of nine latents at 16x16 and a
mixture of ten logistics; NCSN++ with FIR resampling and attention at 16; linear
VPSDE, unweighted objective with its proposal, the encoder reweighted from the same
draw, as in LSGM's CIFAR-10 recipes. Reached: not yet run.
"""

from ml_collections import ConfigDict

from configs import common
from configs.common import piece

VAE_STEPS, PRIOR_STEPS = 60_000, 120_000


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    smoke = common.variant(arg, "full", "smoke") == "smoke"
    unweighted = piece("objectives.weighting:Unweighted")
    network = piece(
        "networks.ncsnpp:NCSNpp",
        channels=8 if smoke else 128,
        channel_mult=(1, 1, 1),
        blocks_per_level=1 if smoke else 4,
        attention_resolutions=(16,),
        fir=True,
    )
    return common.new_config(
        seed=0,
        data=piece(
            "data.pipeline:Data",
            source=common.tfds(
                "cifar10", train="train[:45000]", validation="train[45000:]"
            ),
            image_shape=(32, 32, 3),
            num_bits=8,
            flip=True,
        ),
        vae=piece(
            "vae:VAE",
            image_shape=(32, 32, 3),
            network=piece(
                "networks.nvae:NVAE",
                base_channels=8 if smoke else 64,
                channel_mult=(1, 2),
                groups_per_scale=2 if smoke else 4,
                latents_per_group=9,
                cells_per_group_encoder=1 if smoke else 2,
                cells_per_group_decoder=1 if smoke else 2,
                num_outputs=100,
            ),
            likelihood=piece("distributions:LogisticMixtureLikelihood", num_bits=8),
        ),
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=common.stage(
                smoke,
                prior=common.normal_prior(),
                num_steps=VAE_STEPS,
                batch_size=64,
                optimizers=dict(vae=common.adamax(1e-2, VAE_STEPS)),
                kl=common.annealing(VAE_STEPS, 0.5),
                balance_kl=True,
                regularization=dict(vae=common.regularization(1e-2)),
            ),
            lsgm=common.stage(
                smoke,
                prior=common.score_prior(
                    network=network,
                    mixing_logit_init=-3.0,
                    weighting=unweighted,
                    time_sampler=piece(
                        "objectives.time_sampling:Importance",
                        weighting=unweighted,
                        t_min=1e-2,
                    ),
                ),
                num_steps=PRIOR_STEPS,
                batch_size=64,
                optimizers=dict(
                    vae=common.adam(1e-4, PRIOR_STEPS),
                    prior=common.adam(1e-4, PRIOR_STEPS),
                ),
                kl=common.annealing(PRIOR_STEPS, 0.1, coeff_min=0.7),
                regularization=dict(
                    vae=common.regularization(1e-2),
                    prior=piece("elbo:Regularization", norm=1e-2),
                ),
            ),
        ),
        evaluation=common.evaluation(smoke),
    )

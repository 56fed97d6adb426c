"""CIFAR-10 through TFDS: a small colour LSGM, for a day on one GPU.

    python -m experiments.prepare_data --help          # once, see docs/data.md
    python -m experiments.train --config=configs/cifar10/small.py --workdir=runs/cifar10

32x32 colour images at 8 bits; NVAE with four groups of nine latents at 16x16 and a
mixture of ten logistics; NCSN++ with FIR resampling and attention at 16; linear
VPSDE, unweighted objective with its proposal, the encoder reweighted from the same
draw, as in LSGM's CIFAR-10 recipes. Reached: not yet run.
"""

from ml_collections import ConfigDict

from configs import pieces
from configs.pieces import piece

VAE_STEPS, PRIOR_STEPS = 60_000, 120_000


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    network = piece(
        "networks.ncsnpp:NCSNpp",
        channels=8 if smoke else 128,
        channel_mult=(1, 1, 1),
        blocks_per_level=1 if smoke else 4,
        attention_resolutions=(16,),
        fir=True,
    )
    return pieces.new_config(
        seed=0,
        data=piece(
            "data.images:Images",
            source=pieces.tfds(
                "cifar10", train="train[:45000]", validation="train[45000:]"
            ),
            image_shape=(32, 32, 3),
            num_bits=8,
            flip=True,
        ),
        vae=piece(
            "vae:VAE",
            data_shape=(32, 32, 3),
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
            vae=pieces.small_vae_stage(smoke, VAE_STEPS, batch_size=64),
            lsgm=pieces.small_lsgm_stage(
                smoke,
                PRIOR_STEPS,
                batch_size=64,
                prior=pieces.score_prior(
                    network=network,
                    mixing_logit_init=-3.0,
                    weighting=piece("objectives.weighting:Unweighted"),
                    time_sampler=pieces.importance("Unweighted"),
                ),
                prior_lr=1e-4,
                prior_penalty=piece("objective:Regularization", norm=1e-2),
            ),
        ),
        evaluation=pieces.evaluation(smoke),
    )

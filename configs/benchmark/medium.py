"""What `experiments/benchmark.py step --model=M` times: CIFAR-10's sizes, small.

Not a recipe: nothing was tuned, and the learning rates hardly matter. 32x32 colour
images of 8 bits, an NVAE of 1,446,708 parameters with four groups of nine latents at
16x16, a score network of 3,107,172 with FIR resampling; linear VPSDE, unweighted
objective with its proposal, the encoder reweighted from the same draw.
"""

from ml_collections import ConfigDict

from configs import pieces
from configs.pieces import piece

STEPS = 1000


def get_config(arg: str = "full") -> ConfigDict:
    """The sizes; ``smoke`` has tiny ones."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    cells = 1 if smoke else 2
    network = pieces.small_ncsnpp(
        smoke,
        channels=64,
        channel_mult=(1, 1, 1),
        attention_resolutions=(16,),
        fir=True,
        time_channels=512,
        dropout=0.2,
    )
    return pieces.new_config(
        seed=0,
        data=piece(
            "data.images:Images",
            source=pieces.tfds("cifar10"),
            image_shape=(32, 32, 3),
        ),
        vae=piece(
            "vae:VAE",
            data_shape=(32, 32, 3),
            network=piece(
                "networks.nvae:NVAE",
                base_channels=4 if smoke else 32,
                channel_mult=(1, 2),
                groups_per_scale=cells if smoke else 4,
                latents_per_group=9,
                preprocess_cells=cells,
                postprocess_cells=cells,
                cells_per_group_encoder=cells,
                cells_per_group_decoder=cells,
                num_outputs=100,
            ),
            likelihood=piece("distributions:LogisticMixtureLikelihood"),
        ),
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=pieces.small_vae_stage(smoke, STEPS, batch_size=8),
            lsgm=pieces.small_lsgm_stage(
                smoke,
                STEPS,
                batch_size=8,
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

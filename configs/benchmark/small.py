"""What `experiments/benchmark.py step --model=S` times: MNIST's sizes, small.

Not a recipe: nothing was tuned, and the learning rates hardly matter. Binary 28x28
images padded to 32x32, an NVAE of 238,162 parameters with two groups of 20 latents at
8x8, a score network of 1,894,280; linear VPSDE, likelihood weighting and proposal,
one draw of time for prior and encoder.
"""

from ml_collections import ConfigDict

from configs import pieces
from configs.pieces import piece

STEPS = 1000


def get_config(arg: str = "full") -> ConfigDict:
    """The sizes; ``smoke`` has tiny ones."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    vae = pieces.small_nvae(
        base_channels=4 if smoke else 16,
        latents_per_group=2 if smoke else 20,
        preprocess_cells=1 if smoke else 3,
        postprocess_cells=1 if smoke else 3,
        cell="res_mbconv",
    )
    network = pieces.small_ncsnpp(
        smoke,
        channels=32,
        blocks_per_level=8,
        time_channels=512,
        dropout=0.2,
    )
    return pieces.new_config(
        seed=0,
        data=pieces.binary_digits(piece("data.sources.mnist5k:MNIST5k")),
        vae=vae,
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=pieces.small_vae_stage(smoke, STEPS, batch_size=16),
            lsgm=pieces.small_lsgm_stage(
                smoke,
                STEPS,
                batch_size=16,
                prior=pieces.score_prior(network=network),
                prior_lr=3e-4,
            ),
        ),
        evaluation=pieces.evaluation(smoke),
    )

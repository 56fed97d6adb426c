"""What `experiments/benchmark.py step --model=S` times: MNIST's sizes, small.

Not a recipe: nothing was tuned, and the learning rates hardly matter. Binary 28x28
images padded to 32x32, an NVAE of 238,162 parameters with two groups of 20 latents at
8x8, a score network of 1,894,280; linear VPSDE, likelihood weighting and proposal,
one draw of time for prior and encoder.
"""

from ml_collections import ConfigDict

from configs import common
from configs.common import piece

STEPS = 1000


def get_config(arg: str = "full") -> ConfigDict:
    """The sizes; ``smoke`` has tiny ones."""
    smoke = common.variant(arg, "full", "smoke") == "smoke"
    vae = common.small_nvae(
        base_channels=4 if smoke else 16,
        latents_per_group=2 if smoke else 20,
        preprocess_cells=1 if smoke else 3,
        postprocess_cells=1 if smoke else 3,
        cell="res_mbconv",
    )
    network = common.small_ncsnpp(
        smoke,
        channels=32,
        blocks_per_level=8,
        time_channels=512,
        dropout=0.2,
    )
    return common.new_config(
        seed=0,
        data=common.binary_digits(piece("data.mnist5k:MNIST5k")),
        vae=vae,
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=common.small_vae_stage(smoke, STEPS, batch_size=16),
            lsgm=common.small_lsgm_stage(
                smoke,
                STEPS,
                batch_size=16,
                prior=common.score_prior(network=network),
                prior_lr=3e-4,
            ),
        ),
        evaluation=common.evaluation(smoke),
    )

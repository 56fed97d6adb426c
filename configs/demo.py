"""A small LSGM on 5,000 real MNIST digits, both stages, in minutes on two CPU cores.

    make demo
    python -m experiments.train --config=configs/demo.py --workdir=runs/demo

Binarised 28x28 digits from the embedded ``mnist5k``; an NVAE with 32 latents, 4x4x2;
linear VPSDE, likelihood weighting with its importance sampling, one draw of time for
prior and encoder (LSGM's Algorithm 1). Few latents, all of them in use, are what a
score network learns in a thousand steps; and as in LSGM the KL coefficient stays below
one in the first stage, so that there is something left to learn. Reached: see README.
"""

from ml_collections import ConfigDict

from configs import common
from configs.common import piece

VAE_STEPS, PRIOR_STEPS = 1100, 1300


def get_config(arg: str = "full") -> ConfigDict:
    """The demo; ``smoke`` takes two steps a stage."""
    ema = piece("training.optim:Ema", decay=0.99, warmup=True)
    smoke = common.variant(arg, "full", "smoke") == "smoke"
    return common.new_config(
        seed=0,
        data=common.binary_digits(piece("data.mnist5k:MNIST5k")),
        vae=common.small_nvae(
            base_channels=8,
            channel_mult=(1, 2, 4, 8),
            preprocess_blocks=3,
            preprocess_cells=1,
            postprocess_cells=1,
            groups_per_scale=1,
            latents_per_group=2,
        ),
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=common.stage(
                smoke,
                prior=common.normal_prior(),
                num_steps=VAE_STEPS,
                batch_size=32,
                ema=ema,
                sample_every=VAE_STEPS // 2,
                eval_every=VAE_STEPS // 2,
                checkpoint_every=500,
                optimizers=dict(vae=common.adamax(1e-2, VAE_STEPS)),
                kl=common.annealing(VAE_STEPS, 0.3, coeff_max=0.5),
                balance_kl=True,
                regularization=dict(vae=common.regularization(1e-2)),
            ),
            lsgm=common.stage(
                smoke,
                prior=common.score_prior(
                    network=common.small_ncsnpp(smoke, channel_mult=(1,)),
                    mixing_logit_init=-2.0,
                ),
                num_steps=PRIOR_STEPS,
                batch_size=32,
                ema=ema,
                sample_every=PRIOR_STEPS // 2,
                eval_every=PRIOR_STEPS // 2,
                checkpoint_every=500,
                optimizers=dict(
                    vae=common.adam(3e-4, PRIOR_STEPS),
                    prior=common.adam(2e-3, PRIOR_STEPS),
                ),
                kl=common.annealing(PRIOR_STEPS, 0.0, coeff_min=1.0),
                regularization=dict(vae=common.regularization(1e-2)),
            ),
        ),
        evaluation=common.evaluation(
            smoke,
            extractor=piece("evaluation.features:ClassifierFeatures"),
        ),
    )

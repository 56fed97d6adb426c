"""A small LSGM on 5,000 real MNIST digits, both stages, in minutes on two CPU cores.

    make demo
    python -m experiments.train --config=configs/demo.py --workdir=runs/demo

Binarised 28x28 digits from the embedded ``mnist5k``; an NVAE with two latent groups
at 8x8; linear VPSDE, likelihood weighting with its importance sampling, one draw of
time for prior and encoder (LSGM's Algorithm 1). Reached: see README.
"""

from ml_collections import ConfigDict

from configs import common
from configs.common import piece

VAE_STEPS, PRIOR_STEPS = 1200, 500


def get_config(arg: str = "full") -> ConfigDict:
    """The demo; ``smoke`` takes two steps a stage."""
    ema = piece("training.optim:Ema", decay=0.99, warmup=True)
    smoke = common.variant(arg, "full", "smoke") == "smoke"
    return common.new_config(
        seed=0,
        data=common.binary_digits(piece("data.mnist5k:MNIST5k")),
        vae=common.small_nvae(),
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=common.stage(
                smoke,
                prior=common.normal_prior(),
                num_steps=VAE_STEPS,
                batch_size=32,
                ema=ema,
                sample_every=500,
                eval_every=250,
                checkpoint_every=250,
                optimizers=dict(vae=common.adamax(1e-2, VAE_STEPS)),
                kl=common.annealing(VAE_STEPS, 0.3),
                balance_kl=True,
                regularization=dict(vae=common.regularization(1e-2)),
            ),
            lsgm=common.stage(
                smoke,
                prior=common.score_prior(
                    network=common.small_ncsnpp(smoke), mixing_logit_init=-6.0
                ),
                num_steps=PRIOR_STEPS,
                batch_size=32,
                ema=ema,
                sample_every=500,
                eval_every=250,
                checkpoint_every=250,
                optimizers=dict(
                    vae=common.adam(5e-4, PRIOR_STEPS),
                    prior=common.adam(1e-3, PRIOR_STEPS),
                ),
                kl=common.annealing(PRIOR_STEPS, 0.0, coeff_min=1.0),
                regularization=dict(vae=common.regularization(1e-2)),
            ),
        ),
        evaluation=common.evaluation(
            smoke,
            likelihood=common.ode_likelihood(1e-3, num_examples=4 if smoke else 50),
            extractor=piece("evaluation.features:ClassifierFeatures"),
        ),
    )

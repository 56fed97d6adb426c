"""Fashion-MNIST on two CPU cores in about an hour: the demo, four times as large.

    python -m experiments.prepare_data --from=idx --root=DIR \
        --name=fashion_mnist --version=3.0.1                  # once, see docs/data.md
    python -m experiments.train --config=configs/fashion_mnist/laptop.py \
        --workdir=runs/fashion_laptop

Dynamically binarised 28x28 pieces of clothing; an NVAE with one group of 128 latents,
8x8x2, whose aggregate posterior is a mixture with a known density, as
docs/samplers.md asks of a model that samplers are measured on.

Reached, seed 0, 2 busy CPU cores, monitored bound on 500 validation images: 246.5 nats
after stage ``vae``, 225.9 after stage ``lsgm``; 32 network calls per sample at 1e-2.
"""

from ml_collections import ConfigDict

from configs import common
from configs.common import piece

VAE_STEPS, PRIOR_STEPS = 2500, 5000


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    ema = piece("training.optim:Ema", decay=0.995, warmup=True)
    smoke = common.variant(arg, "full", "smoke") == "smoke"
    return common.new_config(
        seed=0,
        data=common.binary_digits(
            common.tfds(
                "fashion_mnist", train="train[:55000]", validation="train[55000:]"
            )
        ),
        vae=common.small_nvae(
            base_channels=12,
            channel_mult=(1, 2, 4),
            preprocess_blocks=2,
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
                batch_size=64,
                ema=ema,
                sample_every=VAE_STEPS // 2,
                eval_every=VAE_STEPS // 2,
                checkpoint_every=500,
                optimizers=dict(vae=common.adamax(1e-2, VAE_STEPS)),
                kl=common.annealing(VAE_STEPS, 0.3, coeff_max=0.7),
                balance_kl=True,
                regularization=dict(vae=common.regularization(1e-2)),
            ),
            lsgm=common.stage(
                smoke,
                prior=common.score_prior(
                    network=common.small_ncsnpp(smoke, channel_mult=(1, 1)),
                    mixing_logit_init=-2.0,
                ),
                num_steps=PRIOR_STEPS,
                batch_size=64,
                ema=ema,
                sample_every=PRIOR_STEPS // 5,
                eval_every=PRIOR_STEPS // 5,
                checkpoint_every=500,
                optimizers=dict(
                    vae=common.adam(2e-4, PRIOR_STEPS),
                    prior=common.adam(1e-3, PRIOR_STEPS),
                ),
                kl=common.annealing(PRIOR_STEPS, 0.0, coeff_min=1.0),
                regularization=dict(vae=common.regularization(1e-2)),
            ),
        ),
        evaluation=common.evaluation(smoke, num_examples=2000),
    )

"""OMNIGLOT, the recipe of LSGM. Published: NLL <= 87.79 nats, dynamic binarisation.

    python -m experiments.train --config=configs/omniglot/lsgm.py --workdir=runs/omni

Here not yet run. 5.4 M parameters in the VAE, 97.8 M in the prior; published on 2 and
4 GPUs of 16 GB. The data are 28x28 with 24,345 images for training (docs/data.md).
NVAE with 3 groups of 20 latents at 16x16; linear VPSDE, likelihood weighting with its
importance sampling, one draw for prior and encoder (LSGM's Algorithm 1).
"""

from ml_collections import ConfigDict

from configs import paper, pieces


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    return pieces.new_config(
        seed=1,
        data=pieces.binary_digits(
            pieces.tfds(
                "omniglot28", train="train", validation="train+test", test="test"
            )
        ),
        vae=paper.binary_vae(
            smoke,
            base_channels=64,
            channel_mult=(1, 2),
            preprocess_cells=2,
            postprocess_cells=2,
            groups_per_scale=3,
            latents_per_group=20,
            cells_per_group_encoder=3,
            cells_per_group_decoder=3,
            cell="res_mbconv",
        ),
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=paper.vae_stage(
                smoke,
                epochs=200,
                steps_per_epoch=190,
                batch_size=128,
                anneal=1.0,
                coeff_max=1.0,
                penalty=1e-2,
            ),
            lsgm=paper.lsgm_stage(
                smoke,
                prior=pieces.score_prior(
                    network=paper.ncsnpp(smoke, 256, (1, 1, 1)),
                    mixing_logit_init=-6.0,
                    sampler=paper.sampler(smoke, 1e-5),
                ),
                epochs=1500,
                steps_per_epoch=190,
                batch_size=128,
                warmup_epochs=20,
                prior_lr=3e-4,
                penalty=dict(
                    vae=pieces.regularization(1e-2), prior=pieces.regularization(1e-3)
                ),
                anneal=True,
                drop_inactive=0.1,
            ),
        ),
        evaluation=pieces.evaluation(
            smoke,
            ledger=paper.figures("OMNIGLOT", nats=87.79),
            **paper.test_as_held_out("validation"),
        ),
    )

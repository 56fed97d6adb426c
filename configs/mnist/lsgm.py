"""MNIST, the recipe of LSGM. Published: NLL <= 78.47 nats, dynamic binarisation.

    python -m experiments.train --config=configs/mnist/lsgm.py --workdir=runs/mnist_lsgm

Here not yet run. 3.0 M parameters in the VAE, 63.8 M in the prior; published on 2 and
4 GPUs of 16 GB. NVAE with 2 groups of 20 latents at 8x8; linear VPSDE, likelihood
weighting with its importance sampling, one draw for prior and encoder (LSGM's
Algorithm 1).
"""

from ml_collections import ConfigDict

from configs import paper, pieces


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    return pieces.new_config(
        seed=1,
        data=pieces.binary_digits(pieces.tfds("mnist", train="train", test="test")),
        vae=paper.binary_vae(
            smoke,
            base_channels=64,
            channel_mult=(1, 2, 2),
            preprocess_blocks=2,
            preprocess_cells=3,
            postprocess_cells=3,
            groups_per_scale=2,
            latents_per_group=20,
            cell="res_mbconv",
        ),
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=paper.vae_stage(
                smoke,
                epochs=200,
                steps_per_epoch=300,
                batch_size=200,
                anneal=1.0,
                coeff_max=0.7,
                penalty=1e-2,
            ),
            lsgm=paper.lsgm_stage(
                smoke,
                prior=pieces.score_prior(
                    network=paper.ncsnpp(smoke, 256, (1, 1)),
                    mixing_logit_init=-6.0,
                    sampler=paper.sampler(smoke, 1e-5),
                ),
                epochs=800,
                steps_per_epoch=468,
                batch_size=128,
                warmup_epochs=20,
                prior_lr=3e-4,
                penalty=dict(vae=pieces.regularization(1e-2)),
                anneal=True,
                drop_inactive=0.1,
            ),
        ),
        evaluation=pieces.evaluation(
            smoke,
            ledger=paper.figures("MNIST", nats=78.47),
            **paper.test_as_held_out("train"),
        ),
    )

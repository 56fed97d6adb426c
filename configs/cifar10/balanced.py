"""CIFAR-10, the balanced recipe of LSGM. Published: FID 2.17, NLL <= 2.95 bits/dim.

    python -m experiments.train --config=configs/cifar10/balanced.py --workdir=runs/c10b

Here not yet run. 100.9 M parameters in the VAE, 375.6 M in the prior; published on
8 and 16 GPUs of 16 and 32 GB. NVAE with 20 groups of 9 latents at 16x16; linear
VPSDE, unweighted objective with its proposal, the encoder reweighted from the same
draw (LSGM's Algorithm 3).
"""

from ml_collections import ConfigDict

from configs import paper, pieces
from configs.pieces import piece


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    return pieces.new_config(
        seed=1,
        data=paper.cifar10_data(),
        vae=paper.colour_vae(
            smoke,
            size=32,
            num_bits=8,
            base_channels=128,
            channel_mult=(1, 2),
            preprocess_cells=2,
            postprocess_cells=2,
            groups_per_scale=20,
            latents_per_group=9,
            cells_per_group_encoder=2,
            cells_per_group_decoder=2,
            cell="res_bnswish",
        ),
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=paper.vae_stage(
                smoke,
                epochs=600,
                steps_per_epoch=195,
                batch_size=256,
                anneal=0.5,
                coeff_max=1.0,
                penalty=1e-2,
            ),
            lsgm=paper.lsgm_stage(
                smoke,
                prior=pieces.score_prior(
                    network=paper.ncsnpp(smoke, 512, (1, 1, 1), fir=True),
                    mixing_logit_init=-3.0,
                    weighting=piece("objectives.weighting:Unweighted"),
                    time_sampler=pieces.importance("Unweighted"),
                    sampler=paper.sampler(smoke, 1e-5, t_end=1e-6),
                ),
                epochs=1875,
                steps_per_epoch=195,
                batch_size=256,
                warmup_epochs=5,
                prior_lr=1e-4,
                penalty=dict(
                    vae=pieces.regularization(1e-2),
                    prior=piece("objective:Regularization", norm=1e-2),
                ),
            ),
        ),
        evaluation=pieces.evaluation(
            smoke,
            num_samples=50_000,
            extractor=None if smoke else paper.inception(),
            ledger=paper.figures("CIFAR-10, balanced", fid=2.17, bits_per_dim=2.95),
            **paper.test_as_held_out("train"),
        ),
    )

"""CIFAR-10, LSGM's recipe for the best FID. Published: FID 2.10, 138 network calls.

    python -m experiments.train --config=configs/cifar10/best_fid.py --workdir=runs/c10f

Here not yet run. Published too: NLL <= 3.43 bits/dim; 100.9 M parameters in the VAE,
375.6 M in the prior; 8 and 16 GPUs of 16 and 32 GB. As ``balanced``, but the VAE is
trained with a KL coefficient that rises to 0.7 only, and goes on to 1 in the second
stage.
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
                epochs=400,
                steps_per_epoch=195,
                batch_size=256,
                anneal=1.0,
                coeff_max=0.7,
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
                anneal=True,
            ),
        ),
        evaluation=pieces.evaluation(
            smoke,
            num_samples=50_000,
            extractor=None if smoke else paper.inception(),
            ledger=paper.figures(
                "CIFAR-10, FID", fid=2.10, bits_per_dim=3.43, nfe=138.0
            ),
            **paper.test_as_held_out("train"),
        ),
    )

"""CelebA-HQ-256, LSGM's recipe for its pictures. Published: pictures, no figures.

    python -m experiments.train --config=configs/celeba_hq_256/qualitative.py \\
        --workdir=runs/celeba_pictures

Here not yet run. 17.8 M parameters in the VAE, 440.1 M in the prior of the second
stage, 680.8 M in that of the third; published on 16 GPUs of 32 GB. NVAE with two
scales of 10 groups of 20 latents, the prior on the deeper, 64x64. Stage 2: geometric
SDE, reweighted objective, the encoder's own pass through the averaged prior (LSGM's
Algorithm 2). Stage 3: a new, wider prior on the frozen VAE, linear VPSDE.
"""

from ml_collections import ConfigDict

from configs import paper, pieces
from configs.pieces import piece

LEVELS = (1, 1, 2, 2, 2)


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    reweighted = piece("objectives.weighting:Reweighted")
    return pieces.new_config(
        seed=1,
        data=paper.celeba_hq_data(),
        vae=paper.colour_vae(
            smoke,
            size=256,
            num_bits=5,
            base_channels=64,
            channel_mult=(1, 1, 2),
            preprocess_cells=2,
            postprocess_cells=2,
            num_scales=2,
            groups_per_scale=10,
            latents_per_group=20,
            cells_per_group_encoder=2,
            cells_per_group_decoder=2,
            cell="res_mbconv",
            num_flows=2,
            input_skip=True,
            remat=True,
        ),
        stage_order=("vae", "lsgm", "prior"),
        stages=dict(
            vae=paper.vae_stage(
                smoke,
                epochs=200,
                steps_per_epoch=422,
                batch_size=64,
                anneal=1.0,
                coeff_max=1.0,
                penalty=3e-2,
            ),
            lsgm=paper.lsgm_stage(
                smoke,
                prior=pieces.score_prior(
                    sde=paper.geometric(),
                    network=paper.ncsnpp(smoke, 256, LEVELS, fir=True, remat=True),
                    mixing_logit_init=-6.0,
                    weighting=reweighted,
                    time_sampler=pieces.importance("Reweighted", t_min=0.0),
                    encoder_times=pieces.importance("LikelihoodWeighting", t_min=0.0),
                    sampler=paper.sampler(smoke, 1e-5),
                ),
                epochs=1000,
                steps_per_epoch=422,
                batch_size=64,
                warmup_epochs=20,
                prior_lr=1e-4,
                vae_lr=8e-5,
                penalty=dict(
                    vae=pieces.regularization(1e-1), prior=pieces.regularization(1e-2)
                ),
                anneal=True,
                disjoint=True,
                encoder_ema=True,
                drop_inactive=0.1,
            ),
            prior=paper.lsgm_stage(
                smoke,
                prior=pieces.score_prior(
                    network=paper.ncsnpp(smoke, 320, LEVELS, fir=True, remat=True),
                    mixing_logit_init=-6.0,
                    weighting=reweighted,
                    time_sampler=pieces.importance("Reweighted"),
                    sampler=paper.sampler(smoke, 1e-5),
                ),
                fresh=("prior",),
                epochs=1500,
                steps_per_epoch=281,
                batch_size=96,
                warmup_epochs=20,
                prior_lr=6e-5,
                vae_lr=None,
                penalty=dict(prior=pieces.regularization(1e-2)),
                drop_inactive=0.1,
            ),
        ),
        evaluation=pieces.evaluation(
            smoke,
            batch_size=64,
            batch_statistics=True,
            **paper.test_as_held_out("validation"),
        ),
    )

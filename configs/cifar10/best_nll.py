"""CIFAR-10, LSGM's recipe for the best likelihood. Published: NLL <= 2.87 bits/dim.

    python -m experiments.train --config=configs/cifar10/best_nll.py --workdir=runs/c10n

Here not yet run. Published too: FID 6.89; 130.6 M parameters in the VAE, 375.6 M in
the prior; 4 and 16 GPUs of 16 and 32 GB. NVAE with 4 groups of 45 latents at 16x16
and two flows each; geometric SDE, likelihood weighting, uniform times, one draw for
prior and encoder (LSGM's Algorithm 1).
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
            base_channels=256,
            channel_mult=(1, 2),
            preprocess_cells=3,
            postprocess_cells=3,
            groups_per_scale=4,
            latents_per_group=45,
            cells_per_group_encoder=3,
            cells_per_group_decoder=3,
            cell="res_bnswish",
            num_flows=2,
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
                    sde=paper.geometric(),
                    network=paper.ncsnpp(smoke, 512, (1, 1, 1), fir=True),
                    mixing_logit_init=-3.0,
                    time_sampler=piece("objectives.time_sampling:Uniform", t_min=0.0),
                    sampler=paper.sampler(smoke, 1e-5, t_end=1e-6),
                ),
                epochs=1875,
                steps_per_epoch=195,
                batch_size=256,
                warmup_epochs=5,
                prior_lr=1e-4,
                penalty=dict(
                    vae=pieces.regularization(1e-2), prior=pieces.regularization(1e-2)
                ),
                anneal=True,
            ),
        ),
        evaluation=pieces.evaluation(
            smoke,
            num_samples=50_000,
            extractor=None if smoke else paper.inception(),
            ledger=paper.figures("CIFAR-10, NLL", fid=6.89, bits_per_dim=2.87),
            **paper.test_as_held_out("train"),
        ),
    )

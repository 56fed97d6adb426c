"""CelebA-HQ-256, LSGM's quantitative recipe. Published: FID 7.22, 23 network calls.

    python -m experiments.train --config=configs/celeba_hq_256/quantitative.py \\
        --workdir=runs/celeba

Here not yet run. Published too: NLL <= 0.70 bits/dim at 5 bits; 51.3 M parameters in
the VAE, 408.4 M in the prior; 16 GPUs of 32 GB. NVAE with three scales of 8 groups of
20 latents, the prior on the deepest, 32x32; linear VPSDE, reweighted objective; the
encoder's own pass through the prior, with likelihood weights (LSGM's Algorithm 2).
Tolerance 1e-2 for samples, 1e-5 for likelihoods.
"""

from ml_collections import ConfigDict

from configs import common, published
from configs.common import piece


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    smoke = common.variant(arg, "full", "smoke") == "smoke"
    return common.new_config(
        seed=1,
        data=published.celeba_hq_data(),
        vae=published.colour_vae(
            smoke,
            size=256,
            num_bits=5,
            base_channels=64,
            channel_mult=(1, 1, 2, 4),
            preprocess_cells=2,
            postprocess_cells=2,
            num_scales=3,
            groups_per_scale=8,
            latents_per_group=20,
            cells_per_group_encoder=2,
            cells_per_group_decoder=2,
            cell="res_mbconv",
            num_flows=2,
            input_skip=True,
            remat=True,
        ),
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=published.vae_stage(
                smoke,
                epochs=200,
                steps_per_epoch=422,
                batch_size=64,
                anneal=1.0,
                coeff_max=1.0,
                penalty=3e-2,
            ),
            lsgm=published.lsgm_stage(
                smoke,
                prior=common.score_prior(
                    network=published.ncsnpp(
                        smoke, 256, (1, 2, 2, 2), fir=True, remat=True
                    ),
                    mixing_logit_init=-6.0,
                    weighting=piece("objectives.weighting:Reweighted"),
                    time_sampler=common.importance("Reweighted"),
                    encoder_times=common.importance("Likelihood"),
                    sampler=published.sampler(smoke, 1e-2),
                ),
                epochs=1000,
                steps_per_epoch=422,
                batch_size=64,
                warmup_epochs=20,
                prior_lr=1e-4,
                penalty=dict(
                    vae=common.regularization(1e-1), prior=common.regularization(1e-2)
                ),
                disjoint=True,
                drop_inactive=0.1,
            ),
        ),
        evaluation=common.evaluation(
            smoke,
            batch_size=64,
            batch_statistics=True,
            **published.test_as_held_out("validation"),
        ),
    )

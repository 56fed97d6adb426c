"""The smallest experiment that exercises every part, for tests of the whole."""

from typing import Any

from ml_collections import ConfigDict

from configs import pieces
from configs.pieces import measure, piece


def config(**stage: Any) -> ConfigDict:
    """Two stages on binarised digits: a tiny conv VAE, then a tiny score prior.

    Args:
      stage: fields that replace those of both stages.
    """
    shared = (
        dict(
            kl=piece(
                "objectives.kl_balance:KLSchedule",
                coeff_min=0.1,
                coeff_max=1.0,
                anneal_steps=4,
                const_steps=0,
            ),
            num_steps=4,
            batch_size=4,
            log_every=2,
            sample_every=4,
            eval_every=4,
            checkpoint_every=2,
        )
        | stage
    )
    adam = piece("training.optim:Adam", lr=1e-3, clip_norm=100.0)
    return pieces.new_config(
        seed=0,
        data=pieces.binary_digits(piece("data.sources.mnist5k:MNIST5k")),
        vae=piece(
            "vae:VAE",
            data_shape=(28, 28, 1),
            padding=2,
            network=piece(
                "networks.conv:ConvVAE",
                channels=(4, 8),
                latent_channels=2,
                num_outputs=1,
            ),
            likelihood=piece("distributions:BernoulliLikelihood"),
        ),
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=piece(
                "training.stage:Stage",
                prior=pieces.normal_prior(),
                optimizers=dict(vae=adam),
                balance_kl=True,
                regularization=dict(vae=pieces.regularization(1e-2)),
                **shared,
            ),
            lsgm=piece(
                "training.stage:Stage",
                prior=score_prior(),
                optimizers=dict(vae=adam, prior=adam),
                regularization=dict(
                    vae=pieces.regularization(1e-2), prior=pieces.regularization(1e-3)
                ),
                **shared,
            ),
        ),
        evaluation=piece(
            "evaluation.settings:Evaluation",
            measures=(
                measure("bound:HeldOutBound", num_examples=8, num_draws=2),
                pieces.ode_likelihood(
                    1e-2, num_examples=6, batch_size=4, num_samples=2
                ),
                measure("sampling:SamplingCost", timing_repeats=1),
                measure("pictures:Pictures"),
                measure("latents:LatentStatistics"),
            ),
            batch_size=4,
            num_samples=8,
            monitor_examples=8,
            monitor_samples=4,
        ),
    )


def score_prior(**fields: Any) -> dict[str, Any]:
    """A score prior on a tiny network."""
    return piece(
        "priors.score:ScorePrior",
        **dict(
            sde=piece("sdes.vpsde:VPSDE"),
            network=piece(
                "networks.ncsnpp:NCSNpp",
                channels=8,
                channel_mult=(1,),
                blocks_per_level=1,
                attention_resolutions=(),
                dropout=0.0,
            ),
            weighting=piece("objectives.weighting:LikelihoodWeighting"),
            time_sampler=pieces.importance("LikelihoodWeighting"),
            sampler=piece("samplers.ddim:DDIM", num_steps=3),
        )
        | fields,
    )

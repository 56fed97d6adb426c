"""What the quantitative CelebA-HQ recipe and its twins share."""

from typing import Any

from ml_collections import ConfigDict

from configs import paper, pieces
from configs.pieces import piece

ARCHITECTURE = dict(
    channel_mult=(1, 1, 2, 4),
    num_scales=3,
    cell="res_mbconv",
    num_flows=2,
    input_skip=True,
)
FIGURES = paper.figures(
    "CelebA-HQ-256, quantitative",
    fid=7.22,
    bits_per_dim=0.70,
    nfe=23.0,
    # 4.15 s for a batch of 16 on a Titan V.
    seconds_per_sample=0.259,
)


def recipe(
    smoke: bool,
    *,
    seed: int,
    data: dict[str, Any],
    vae: dict[str, Any],
    network: dict[str, Any],
    lengths: dict[str, dict[str, Any]],
    warmup_epochs: int,
    rates: dict[str, float],
    mixing_logit_init: float,
    ema_decay: float,
    evaluation: dict[str, Any],
) -> ConfigDict:
    """Both stages and the evaluation, whatever the size.

    Args:
      network: of the prior.
      lengths: epochs, steps per epoch and batch size by stage.
      warmup_epochs: of the second stage; rates: its learning rates, ``vae_lr`` and
        ``prior_lr``.
      mixing_logit_init: where the share of the network in the mixed score starts.
    """
    prior = pieces.score_prior(
        network=network,
        mixing_logit_init=mixing_logit_init,
        weighting=piece("objectives.weighting:Reweighted"),
        time_sampler=pieces.importance("Reweighted"),
        encoder_times=pieces.importance("LikelihoodWeighting"),
        sampler=paper.sampler(smoke, 1e-2),
    )
    return pieces.new_config(
        seed=seed,
        data=data,
        vae=vae,
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=paper.vae_stage(
                smoke, anneal=1.0, coeff_max=1.0, penalty=3e-2, **lengths["vae"]
            ),
            lsgm=paper.lsgm_stage(
                smoke,
                prior=prior,
                warmup_epochs=warmup_epochs,
                penalty=dict(
                    vae=pieces.regularization(1e-1), prior=pieces.regularization(1e-2)
                ),
                ema=piece("training.optim:Ema", decay=ema_decay),
                disjoint=True,
                drop_inactive=0.1,
                keep_best=not smoke,
                **rates,
                **lengths["lsgm"],
            ),
        ),
        evaluation=pieces.evaluation(
            smoke,
            batch_statistics=True,
            # "validation" has the test images, too.
            selection_split="train",
            **evaluation,
        ),
    )

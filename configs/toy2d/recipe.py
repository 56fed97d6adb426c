"""A prior on points of the plane: the same run for every process.

The VAE is the identity, so the prior is a model of the data, and its bound is one on
their negative log-density if it has one. An MLP learns a score in about a minute on one
CPU core.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import pieces
from configs.pieces import piece

SETS = ("diamond", "gaussians", "moons", "swiss_rolls")
WITH_MODES = ("diamond", "gaussians")
STEPS = 4000


def toy2d(arg: str, sde: dict[str, Any], **prior: Any) -> ConfigDict:
    """A score prior alone, on one of ``SETS``; ``smoke`` takes two steps.

    Args:
      sde: the process.
      prior: further fields of the score prior.
    """
    smoke = arg == "smoke"
    # At sigma(t_min) = 0.01, a tenth of the finest features.
    t_min = 1e-3
    network = dict(width=8, depth=1) if smoke else dict(width=256, depth=3)
    defaults = dict(
        sde=sde,
        # Uniform in log var(t) for the VPSDE: half of the times see the fine features.
        time_sampler=pieces.importance("LikelihoodWeighting", t_min=t_min),
        sampler=pieces.adaptive_ode(1e-4, t_end=t_min),
        mixing_logit_init=0.0,
    )
    return run_on_plane(
        arg,
        prior=pieces.score_prior(
            network=piece(
                "networks.mlp:MLP",
                out_channels=2,
                embedding=piece("networks.embeddings:Positional", dim=32, scale=10.0),
                **network,
            ),
            **(defaults | prior),
        ),
        num_steps=STEPS,
        batch_size=512,
        optimizers=dict(prior=pieces.adam(2e-3, STEPS, clip_norm=1.0)),
    )


def run_on_plane(
    arg: str,
    *,
    prior: dict[str, Any],
    num_steps: int,
    batch_size: int,
    optimizers: dict[str, Any],
    ema_decay: float = 0.995,
    default: str = SETS[0],
) -> ConfigDict:
    """Stage ``prior`` alone, with any prior, and its evaluation.

    Args:
      arg: one of ``SETS``, or ``smoke``: two steps on the set ``default``.
    """
    arg = pieces.variant(arg, *SETS, "smoke")
    smoke = arg == "smoke"
    name = default if smoke else arg

    def num(full: int) -> int:
        return min(full, 8) if smoke else full

    measures = [
        pieces.measure("bound:HeldOutBound", num_examples=num(5000)),
        pieces.measure("sampling:SamplingCost", timing_repeats=num(5)),
        pieces.measure("plane:PlanePictures", num_points=num(3000)),
    ]
    if name in WITH_MODES:
        measures.append(pieces.measure("modes:ModeCoverage", num_samples=num(5000)))
    return pieces.new_config(
        seed=0,
        data=piece("data.points:Points", name=name),
        vae=piece(
            "vae:IdentityVAE",
            data_shape=(1, 1, 2),
            likelihood=piece("data_space:ContinuousLikelihood"),
        ),
        stage_order=("prior",),
        stages=dict(
            prior=pieces.stage(
                smoke,
                prior=prior,
                num_steps=num_steps,
                batch_size=batch_size,
                optimizers=optimizers,
                ema=piece("training.optim:Ema", decay=ema_decay, warmup=True),
                sample_every=num_steps // 4,
                eval_every=num_steps // 4,
                checkpoint_every=num_steps // 2,
            )
        ),
        evaluation=piece(
            "evaluation.settings:Evaluation",
            measures=tuple(measures),
            num_samples=num(5000),
            batch_size=num(1000),
            monitor_samples=num(2000),
            monitor_examples=num(2000),
        ),
    )

"""What the studies share: the frame of one, and a small experiment to vary."""

from typing import Any

from ml_collections import ConfigDict

from configs import demo, pieces
from configs.pieces import piece

MEASURES = (
    "latent_dims",
    "parameters",
    "train_flop",
    "bound",
    "bits_per_dim",
    "gain",
    "frechet",
    "kernel",
    "calls",
    "milliseconds",
    "skipped",
)


def study(
    *,
    title: str,
    base: ConfigDict,
    axes: dict[str, dict[str, dict[str, Any]]],
    seeds: tuple[int, ...],
    match: str = "steps",
    measures: tuple[str, ...] = MEASURES,
) -> ConfigDict:
    """A study (``lsgm.studies.study``)."""
    fields = dict(
        title=title,
        base=base,
        axes=axes,
        seeds=seeds,
        match=match,
        measures=measures,
    )
    # Unconverted, for keys of overrides hold dots, and axes and labels an order.
    return ConfigDict(fields, convert_dict=False)


def small_base(smoke: bool, steps: tuple[int, int] = (240, 320)) -> ConfigDict:
    """The demo's experiment with a score network of half its width and depth, looked
    at only when it is trained: minutes on one core, compiling included."""
    unseen = max(steps) + 1
    periods = {} if smoke else dict(sample_every=unseen, eval_every=unseen)
    config: Any = pieces.laptop_run(
        smoke,
        source=piece("data.sources.mnist5k:MNIST5k"),
        vae=demo.small_vae(),
        channel_mult=(1,),
        steps=steps,
        batch_size=32,
        ema_decay=0.99,
        coeff_max=0.5,
        samples=1,
        rates=(3e-4, 2e-3),
        evaluation=pieces.evaluation(
            smoke,
            bound=dict(num_draws=2),
            cost=dict(timing_repeats=3),
            memorization=False,
            extractor=piece("features.classifier:ClassifierFeatures"),
        ),
    )
    config.stages.lsgm.prior.network.update(
        dict(channels=8 if smoke else 32, blocks_per_level=1)
    )
    for stage in config.stages.values():
        stage.update(periods)
    return config


def prior_alone(config: Any) -> dict[str, Any]:
    """Fields of the second stage that leave the VAE as it is."""
    return dict(
        optimizers=dict(prior=config.stages.lsgm.optimizers.prior.to_dict()),
        regularization={},
    )

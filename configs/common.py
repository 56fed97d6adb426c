"""Builders that configs share: functions that return pieces, not a base config.

A piece is a dictionary with a ``target`` and the fields of that class. Nothing is
imported here but ``ml_collections``; names are resolved when a run starts.
"""

from typing import Any

from ml_collections import ConfigDict


def piece(target: str, **fields: Any) -> dict[str, Any]:
    """The class ``lsgm.<target>`` with these fields."""
    return {"target": f"lsgm.{target}", **fields}


def variant(name: str, *allowed: str) -> str:
    """The text after the colon of ``--config=file.py:name``, checked."""
    if name not in allowed:
        raise ValueError(f"variant {name!r}: allowed are {', '.join(allowed)}")
    return name


def binary_digits(source: dict[str, Any]) -> dict[str, Any]:
    """28x28 grey images, dynamically binarised."""
    return piece(
        "data.pipeline:Data",
        source=source,
        image_shape=(28, 28, 1),
        num_bits=1,
        binarize="dynamic",
    )


def tfds(dataset: str, **fields: Any) -> dict[str, Any]:
    """A prepared TFDS data set, read from ArrayRecord."""
    return piece("data.tfds_source:TFDS", dataset=dataset, **fields)


def normal_prior() -> dict[str, Any]:
    """N(0, I): makes a stage a VAE pre-training."""
    return piece("priors.normal:StandardNormal")


def small_nvae(**fields: Any) -> dict[str, Any]:
    """An NVAE for binary 28x28 images, padded to 32x32: two groups at 8x8."""
    network = dict(
        base_channels=16,
        channel_mult=(1, 2, 2),
        preprocess_blocks=2,
        preprocess_cells=2,
        postprocess_cells=2,
        groups_per_scale=2,
        latents_per_group=8,
        cell="res_mbconv",
        num_outputs=1,
    )
    return piece(
        "vae:VAE",
        image_shape=(28, 28, 1),
        padding=2,
        network=piece("networks.nvae:NVAE", **(network | fields)),
        likelihood=piece("distributions:BernoulliLikelihood"),
    )


def ncsnpp(**fields: Any) -> dict[str, Any]:
    """A score network."""
    return piece("networks.ncsnpp:NCSNpp", **fields)


def score_prior(network: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A score prior; unless told otherwise with the linear VPSDE, likelihood
    weighting, its importance sampling, one draw of time for prior and encoder."""
    defaults = dict(
        sde=piece("sdes.vpsde:VPSDE"),
        weighting=piece("objectives.weighting:Likelihood"),
        time_sampler=likelihood_importance(1e-2),
        sampler=adaptive_ode(1e-2),
    )
    return piece("priors.score:ScorePrior", network=network, **(defaults | fields))


def likelihood_importance(t_min: float) -> dict[str, Any]:
    """Times drawn in proportion to the likelihood weighting's contribution."""
    return piece(
        "objectives.time_sampling:Importance",
        weighting=piece("objectives.weighting:Likelihood"),
        t_min=t_min,
    )


def adaptive_ode(tolerance: float, t_end: float = 1e-5) -> dict[str, Any]:
    """Probability-flow ODE, Dormand-Prince 5(4) with step control."""
    return piece(
        "samplers.probability_flow:ProbabilityFlow",
        rtol=tolerance,
        atol=tolerance,
        t_end=t_end,
    )


def regularization(coefficient: float) -> dict[str, Any]:
    """One coefficient for spectral norms and normalisation scales, as in LSGM."""
    return piece("elbo:Regularization", spectral=coefficient, norm=coefficient)


def learning_rate(peak: float, end: float, num_steps: int) -> dict[str, Any]:
    """Linear warm-up over a twentieth of the steps, then a cosine to ``end``."""
    return piece(
        "training.optim:WarmupCosine",
        peak=peak,
        end=end,
        num_steps=num_steps,
        warmup_steps=num_steps // 20,
    )


def annealing(num_steps: int, portion: float, **fields: Any) -> dict[str, Any]:
    """KL coefficient that grows over the first ``portion`` of the steps."""
    return piece(
        "kl_balance:KLSchedule",
        anneal_steps=max(1, int(portion * num_steps)),
        **({"coeff_min": 1e-2, "coeff_max": 1.0} | fields),
    )


def stage(smoke: bool, **fields: Any) -> dict[str, Any]:
    """A stage; a smoke test of it takes two steps."""
    if smoke:
        fields |= dict(
            num_steps=2,
            batch_size=2,
            log_every=1,
            sample_every=2,
            eval_every=2,
            checkpoint_every=2,
        )
    return piece("training.stage:Stage", **fields)


def evaluation(smoke: bool, **fields: Any) -> dict[str, Any]:
    """What is measured; in a smoke test on next to nothing."""
    if smoke:
        fields |= dict(
            num_examples=4,
            num_draws=1,
            batch_size=4,
            num_samples=8,
            monitor_examples=4,
            monitor_samples=4,
            timing_repeats=1,
        )
    return piece("evaluation.settings:Evaluation", **fields)


def new_config(**sections: Any) -> ConfigDict:
    """A config from its sections."""
    return ConfigDict(sections)

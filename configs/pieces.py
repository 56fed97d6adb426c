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
        "data.images:Images",
        source=source,
        image_shape=(28, 28, 1),
        num_bits=1,
        binarize="dynamic",
    )


def tfds(dataset: str, **fields: Any) -> dict[str, Any]:
    """A prepared TFDS data set, read from ArrayRecord."""
    return piece(
        "data.sources.tfds_source:TFDS", dataset=dataset, **({"data_dir": ""} | fields)
    )


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
        cell="res_bnswish",
        num_outputs=1,
    )
    return piece(
        "vae:VAE",
        data_shape=(28, 28, 1),
        padding=2,
        network=piece("networks.nvae:NVAE", **(network | fields)),
        likelihood=piece("distributions:BernoulliLikelihood"),
    )


def small_ncsnpp(smoke: bool, **fields: Any) -> dict[str, Any]:
    """A score network for maps of 8x8; in a smoke test a tiny one."""
    network = dict(
        channels=64,
        channel_mult=(1, 1),
        blocks_per_level=2,
        attention_resolutions=(),
        time_channels=128,
        dropout=0.0,
    )
    smallest = dict(channels=8, blocks_per_level=1, time_channels=16) if smoke else {}
    return piece("networks.ncsnpp:NCSNpp", **(network | fields | smallest))


def score_prior(network: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A score prior; unless told otherwise with the linear VPSDE, likelihood
    weighting, its importance sampling, one draw of time for prior and encoder."""
    defaults = dict(
        sde=piece("sdes.vpsde:VPSDE"),
        weighting=piece("objectives.weighting:LikelihoodWeighting"),
        time_sampler=importance("LikelihoodWeighting"),
        sampler=adaptive_ode(1e-2),
    )
    return piece("priors.score:ScorePrior", network=network, **(defaults | fields))


def importance(weighting: str, t_min: float = 1e-2) -> dict[str, Any]:
    """Times in proportion to what they contribute under this weighting."""
    return piece(
        "objectives.time_sampling:Importance",
        weighting=piece(f"objectives.weighting:{weighting}"),
        t_min=t_min,
    )


def adam(peak: float, num_steps: int, **fields: Any) -> dict[str, Any]:
    """Adam with warm-up, a cosine to a twentieth, and clipping."""
    lr = learning_rate(peak, peak / 20, num_steps)
    return piece("training.optim:Adam", **(dict(lr=lr, clip_norm=100.0) | fields))


def adamax(peak: float, num_steps: int, **fields: Any) -> dict[str, Any]:
    """Adamax as NVAE is trained with it."""
    lr = learning_rate(peak, peak / 20, num_steps)
    settings = dict(lr=lr, eps=1e-3, clip_norm=200.0)
    return piece("training.optim:Adamax", **(settings | fields))


def adaptive_ode(tolerance: float, t_end: float = 1e-5) -> dict[str, Any]:
    """Probability-flow ODE, Dormand-Prince 5(4) with step control."""
    return piece(
        "samplers.probability_flow:ProbabilityFlow",
        rtol=tolerance,
        atol=tolerance,
        t_end=t_end,
    )


def ode_likelihood(tolerance: float, **fields: Any) -> dict[str, Any]:
    """The likelihood report: the bound with the ODE's density of the latents."""
    return measure(
        "likelihood:FlowLikelihood",
        flow=adaptive_ode(tolerance),
        **fields,
    )


def regularization(coefficient: float) -> dict[str, Any]:
    """One coefficient for spectral norms and normalisation scales, as in LSGM."""
    return piece("objective:Regularization", spectral=coefficient, norm=coefficient)


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
        "objectives.kl_balance:KLSchedule",
        anneal_steps=max(1, int(portion * num_steps)),
        **({"coeff_min": 1e-2, "coeff_max": 1.0} | fields),
    )


def stage(smoke: bool, **fields: Any) -> dict[str, Any]:
    """A stage; a smoke test of it takes two steps."""
    fields = dict(ema=piece("training.optim:Ema", decay=0.9999, warmup=True)) | fields
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


def small_vae_stage(smoke: bool, num_steps: int, batch_size: int) -> dict[str, Any]:
    """Stage 1: the VAE with N(0, I) as its prior."""
    return stage(
        smoke,
        prior=normal_prior(),
        num_steps=num_steps,
        batch_size=batch_size,
        optimizers=dict(vae=adamax(1e-2, num_steps)),
        kl=annealing(num_steps, 0.5),
        balance_kl=True,
        regularization=dict(vae=regularization(1e-2)),
    )


def small_lsgm_stage(
    smoke: bool,
    num_steps: int,
    batch_size: int,
    *,
    prior: dict[str, Any],
    prior_lr: float,
    prior_penalty: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Stage 2: VAE and score prior together.

    Args:
      prior_penalty: regularisation of the prior.
    """
    penalties = {} if prior_penalty is None else dict(prior=prior_penalty)
    return stage(
        smoke,
        prior=prior,
        num_steps=num_steps,
        batch_size=batch_size,
        optimizers=dict(vae=adam(1e-4, num_steps), prior=adam(prior_lr, num_steps)),
        kl=annealing(num_steps, 0.1, coeff_min=0.7),
        regularization=dict(vae=regularization(1e-2), **penalties),
    )


def evaluation(
    smoke: bool,
    *,
    bound: dict[str, Any] | None = None,
    cost: dict[str, Any] | None = None,
    latents: dict[str, Any] | None = None,
    memorization: bool = True,
    **fields: Any,
) -> dict[str, Any]:
    """What is measured; in a smoke test on next to nothing.

    That is the bound or the reconstruction, costs, pictures and latents, and with an
    extractor distances and copies of training images.

    Args:
      bound: fields of the bound, and of the reconstruction; cost, latents: of these.
      memorization: whether copies are looked for.
      fields: of the evaluation, which its measures share.
    """
    if smoke:
        bound = dict(num_examples=4, num_draws=1)
        cost = dict(timing_repeats=1)
        fields |= dict(
            batch_size=4,
            num_samples=8,
            monitor_examples=4,
            monitor_samples=4,
            ledger=None,
        )
    measures = [
        measure("bound:HeldOutBound", **(bound or {})),
        # Only of a prior without a bound.
        measure("reconstruction:Reconstruction", **(bound or {})),
        measure("sampling:SamplingCost", **(cost or {})),
        measure("pictures:Pictures"),
    ]
    if fields.get("extractor") is not None:
        measures.append(measure("distances:Distances"))
        if memorization:
            measures.append(measure("memorization:Memorization"))
    measures.append(measure("latents:LatentStatistics", **(latents or {})))
    return piece("evaluation.settings:Evaluation", measures=tuple(measures), **fields)


def measure(name: str, **fields: Any) -> dict[str, Any]:
    """The measure ``lsgm.evaluation.measures.<name>``."""
    return piece(f"evaluation.measures.{name}", **fields)


def binary_run(
    arg: str, *, source: dict[str, Any], vae_steps: int, prior_steps: int
) -> ConfigDict:
    """Both stages on binary 28x28 images with a quarter of LSGM's MNIST widths."""
    smoke = variant(arg, "full", "smoke") == "smoke"
    vae = (
        small_nvae(base_channels=4)
        if smoke
        else small_nvae(
            latents_per_group=20,
            cell="res_mbconv",
            preprocess_cells=3,
            postprocess_cells=3,
        )
    )
    return new_config(
        seed=0,
        data=binary_digits(source),
        vae=vae,
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=small_vae_stage(smoke, vae_steps, batch_size=128),
            lsgm=small_lsgm_stage(
                smoke,
                prior_steps,
                batch_size=128,
                prior=score_prior(network=small_ncsnpp(smoke, blocks_per_level=8)),
                prior_lr=3e-4,
            ),
        ),
        evaluation=evaluation(smoke),
    )


def laptop_run(
    smoke: bool,
    *,
    source: dict[str, Any],
    vae: dict[str, Any],
    channel_mult: tuple[int, ...],
    steps: tuple[int, int],
    batch_size: int,
    ema_decay: float,
    coeff_max: float,
    samples: int,
    rates: tuple[float, float],
    evaluation: dict[str, Any],
) -> ConfigDict:
    """Both stages on binary 28x28 images, in minutes to an hour on two CPU cores.

    Args:
      channel_mult: of the score network.
      steps: of the first and the second stage.
      coeff_max: KL coefficient that the first stage ends with.
      samples: how often the second stage is looked at.
      rates: of VAE and prior in the second stage.
    """
    ema = piece("training.optim:Ema", decay=ema_decay, warmup=True)
    vae_steps, prior_steps = steps
    shared = dict(batch_size=batch_size, ema=ema, checkpoint_every=500)
    penalty = dict(vae=regularization(1e-2))
    return new_config(
        seed=0,
        data=binary_digits(source),
        vae=vae,
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=stage(
                smoke,
                prior=normal_prior(),
                num_steps=vae_steps,
                sample_every=vae_steps // 2,
                eval_every=vae_steps // 2,
                optimizers=dict(vae=adamax(1e-2, vae_steps)),
                kl=annealing(vae_steps, 0.3, coeff_max=coeff_max),
                balance_kl=True,
                regularization=penalty,
                **shared,
            ),
            lsgm=stage(
                smoke,
                prior=score_prior(
                    network=small_ncsnpp(smoke, channel_mult=channel_mult),
                    mixing_logit_init=-2.0,
                ),
                num_steps=prior_steps,
                sample_every=prior_steps // samples,
                eval_every=prior_steps // samples,
                optimizers=dict(
                    vae=adam(rates[0], prior_steps), prior=adam(rates[1], prior_steps)
                ),
                kl=annealing(prior_steps, 0.0, coeff_min=1.0),
                regularization=penalty,
                **shared,
            ),
        ),
        evaluation=evaluation,
    )


def new_config(**sections: Any) -> ConfigDict:
    """A config from its sections."""
    return ConfigDict(sections)

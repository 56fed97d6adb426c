"""What the published recipes of LSGM share: builders, not a base config.

Values that all recipes have in common stand here, values of one recipe in its file.
Where the training is ours rather than theirs:

- single precision instead of half, without loss scaling;
- objectives and densities in their exact form (``docs/concepts.md``);
- the average of parameters covers the VAE too in the stages that have one.

Learning rates, warm-up and decay are per epoch as published; ``steps_per_epoch`` are
the published ones, so that step counts agree.

Source: LSGM, arXiv 2106.05931, appendix G, and the commands published with it.
"""

from typing import Any

from configs import pieces
from configs.pieces import piece

VAE_LR_END, WEIGHT_DECAY = 1e-5, 3e-4


def colour_vae(smoke: bool, size: int, num_bits: int, **network: Any) -> dict[str, Any]:
    """An NVAE for colour images; a mixture of ten logistics per pixel."""
    return piece(
        "vae:VAE",
        data_shape=(size, size, 3),
        network=nvae(smoke, num_outputs=100, **network),
        likelihood=piece("distributions:LogisticMixtureLikelihood", num_bits=num_bits),
    )


def binary_vae(smoke: bool, **network: Any) -> dict[str, Any]:
    """An NVAE for binary 28x28 images, padded to 32x32."""
    return piece(
        "vae:VAE",
        data_shape=(28, 28, 1),
        padding=2,
        network=nvae(smoke, num_outputs=1, **network),
        likelihood=piece("distributions:BernoulliLikelihood"),
    )


def nvae(smoke: bool, **fields: Any) -> dict[str, Any]:
    """The network of a VAE; in a smoke test a narrow one with two groups a scale."""
    smallest = dict(
        base_channels=8,
        base_channels_decoder=None,
        groups_per_scale=2,
        latents_per_group=4,
        cells_per_group_encoder=1,
        cells_per_group_decoder=1,
    )
    return piece("networks.nvae:NVAE", **(fields | (smallest if smoke else {})))


def ncsnpp(
    smoke: bool, channels: int, channel_mult: tuple[int, ...], **fields: Any
) -> dict[str, Any]:
    """The score network: eight blocks a level, attention at 16x16."""
    return piece(
        "networks.ncsnpp:NCSNpp",
        channels=8 if smoke else channels,
        channel_mult=channel_mult,
        blocks_per_level=1 if smoke else 8,
        attention_resolutions=(16,),
        time_channels=16 if smoke else 512,
        dropout=0.2,
        **fields,
    )


def sampler(smoke: bool, tolerance: float, t_end: float = 1e-5) -> dict[str, Any]:
    """The probability-flow ODE; in a smoke test solved roughly."""
    return pieces.adaptive_ode(1e-1 if smoke else tolerance, t_end)


def geometric() -> dict[str, Any]:
    """The geometric SDE, whose time integrals start at zero."""
    return piece(
        "sdes.geometric:GeometricVPSDE", var_min=3e-5, var_max=0.999, var_0=3e-5
    )


def vae_stage(
    smoke: bool,
    *,
    epochs: int,
    steps_per_epoch: int,
    batch_size: int,
    anneal: float,
    coeff_max: float,
    penalty: float,
) -> dict[str, Any]:
    """Stage 1: the VAE with N(0, I) as its prior.

    Args:
      anneal: portion of the training over which the KL coefficient rises.
      coeff_max: where it stops; a second stage may go on from there.
      penalty: coefficient of spectral norms and normalisation scales.
    """
    num_steps = epochs * steps_per_epoch
    adamax = piece(
        "training.optim:Adamax",
        lr=learning_rate(1e-2, 1e-4, epochs, steps_per_epoch, warmup_epochs=5),
        eps=1e-3,
        weight_decay=WEIGHT_DECAY,
        decay_all=True,
    )
    return pieces.stage(
        smoke,
        prior=pieces.normal_prior(),
        # Published VAEs are not averaged.
        ema=piece("training.optim:Ema", decay=0.0),
        batch_size=batch_size,
        optimizers=dict(vae=adamax),
        kl=piece(
            "objectives.kl_balance:KLSchedule",
            coeff_min=1e-4,
            coeff_max=coeff_max,
            anneal_steps=anneal * num_steps,
            const_steps=1e-4 * num_steps,
        ),
        balance_kl=True,
        regularization=dict(vae=pieces.regularization(penalty)),
        **periods(num_steps),
    )


def lsgm_stage(
    smoke: bool,
    *,
    prior: dict[str, Any],
    epochs: int,
    steps_per_epoch: int,
    batch_size: int,
    warmup_epochs: int,
    prior_lr: float,
    penalty: dict[str, Any],
    vae_lr: float | None = 1e-4,
    anneal: bool = False,
    **fields: Any,
) -> dict[str, Any]:
    """Stage 2: VAE and score prior together.

    Args:
      prior_lr: constant after its warm-up; vae_lr: decays to 1e-5; None freezes
        the VAE.
      penalty: regularisation by parameter group.
      anneal: let the KL coefficient rise from 0.7 to 1 over the first tenth.
      fields: further fields of the stage.
    """
    num_steps = epochs * steps_per_epoch

    def adam(peak: float, end: float, eps: float) -> dict[str, Any]:
        lr = learning_rate(peak, end, epochs, steps_per_epoch, warmup_epochs)
        return piece(
            "training.optim:Adam",
            lr=lr,
            eps=eps,
            weight_decay=WEIGHT_DECAY,
            decay_all=True,
        )

    optimizers = dict(prior=adam(prior_lr, prior_lr, eps=1e-4))
    if vae_lr is not None:
        optimizers["vae"] = adam(vae_lr, VAE_LR_END, eps=1e-3)
    rising = dict(coeff_min=0.7, coeff_max=1.0, anneal_steps=0.1 * num_steps)
    return pieces.stage(
        smoke,
        prior=prior,
        batch_size=batch_size,
        optimizers=optimizers,
        kl=piece("objectives.kl_balance:KLSchedule", **(rising if anneal else {})),
        regularization=penalty,
        **periods(num_steps),
        **(dict(ema=piece("training.optim:Ema", decay=0.9999)) | fields),
    )


def learning_rate(
    peak: float, end: float, epochs: int, steps_per_epoch: int, warmup_epochs: int
) -> dict[str, Any]:
    """Linear warm-up, then a cosine that moves once an epoch."""
    return piece(
        "training.optim:EpochCosine",
        peak=peak,
        end=end,
        num_epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        warmup_epochs=warmup_epochs,
    )


def periods(num_steps: int) -> dict[str, int]:
    """Length of a stage; looked at twenty times, saved a hundred times."""
    return dict(
        num_steps=num_steps,
        sample_every=num_steps // 20,
        eval_every=num_steps // 20,
        checkpoint_every=num_steps // 100,
    )


def test_as_held_out(reference: str) -> dict[str, Any]:
    """Splits of an evaluation where nothing but the test split is held out.

    Args:
      reference: split of the real images that samples are compared with.
    """
    return dict(
        monitor_split="test",
        baseline_split="test",
        reference_split=reference,
        selection_split="train",
    )


def figures(name: str, **fields: Any) -> dict[str, Any]:
    """The paper's figures of a run, for its ledger."""
    source = f"LSGM, arXiv 2106.05931: {name}"
    return piece("reports.ledger:Ledger", source=source, **fields)


def inception() -> dict[str, Any]:
    """The extractor of published FID; the user supplies the file."""
    return piece(
        "features.inception:InceptionFeatures",
        weights="weights/pt_inception-2015-12-05-6726825d.pth",
    )


def cifar10_data() -> dict[str, Any]:
    """CIFAR-10 at 8 bits, all 50,000 training images, mirrored at random."""
    return piece(
        "data.images:Images",
        source=pieces.tfds("cifar10", train="train", test="test"),
        image_shape=(32, 32, 3),
        num_bits=8,
        flip=True,
    )


def celeba_hq_data() -> dict[str, Any]:
    """CelebA-HQ-256 at 5 bits, mirrored at random; "validation" is all of it."""
    return piece(
        "data.images:Images",
        source=pieces.tfds(
            "celeba_hq_256", train="train", validation="train+test", test="test"
        ),
        image_shape=(256, 256, 3),
        num_bits=5,
        flip=True,
    )

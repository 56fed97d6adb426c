"""Latent diffusion, Langevin diffusion, denoising GANs, and what comes of joining them.

    python -m experiments.ablate --config=configs/comparisons/three_systems.py \\
        --workdir=runs/three_systems --jobs=2

Grey 28x28 digits at 8 bits, the 5,000 embedded ones. Every system trains as many FLOP
as LSGM does in both of its stages (``match="total_flop"``). On pixels: the linear
VPSDE, CLD, a denoising GAN. In latent space: the VAE alone, LSGM with the linear and
with the geometric VPSDE, LSGM with CLD, and a denoising GAN on LSGM's frozen latents.
A name that ends in a number is the same model with a sampler of so many calls.

``smoke`` takes two steps a stage of four systems. Here not yet run.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import pieces
from configs.ablations.common import study
from configs.pieces import piece

SIZE, BATCH = 28, 32
VAE_STEPS, PRIOR_STEPS = 1500, 2500
T_END = 1e-3
MEASURES = (
    "parameters",
    "train_flop",
    "bits_per_dim",
    "frechet",
    "kernel",
    "distance.samples.precision",
    "distance.samples.recall",
    "calls",
    "milliseconds",
    "skipped",
)
EMA = piece("training.optim:Ema", decay=0.995, warmup=True)
SMOKE_SYSTEMS = ("pixel_cld", "pixel_gan", "lsgm", "lsgm_gan")


def get_config(arg: str = "cpu") -> ConfigDict:
    """The study, in one of its sizes."""
    smoke = pieces.variant(arg, "cpu", "smoke") == "smoke"
    points = systems(smoke)
    base = pieces.new_config(
        seed=0,
        data=piece(
            "data.images:Images",
            source=piece("data.sources.mnist5k:MNIST5k"),
            image_shape=(SIZE, SIZE, 1),
            num_bits=8,
        ),
        **points["lsgm"],
        evaluation=pieces.evaluation(
            smoke,
            bound=dict(num_draws=2),
            cost=dict(timing_repeats=3),
            memorization=False,
            num_samples=2000,
            extractor=piece("features.classifier:ClassifierFeatures"),
        ),
    )
    if smoke:
        points = {name: points[name] for name in SMOKE_SYSTEMS}
    return study(
        title="Three systems at equal training FLOP, 5,000 grey digits",
        base=base,
        axes=dict(system=points),
        seeds=(0,) if smoke else (0, 1, 2),
        match="total_flop",
        measures=MEASURES,
    )


def systems(smoke: bool) -> dict[str, dict[str, Any]]:
    """What each point has in the place of LSGM's VAE and stages."""
    linear, geometric = (
        piece("sdes.vpsde:VPSDE"),
        piece("sdes.geometric:GeometricVPSDE"),
    )
    still, moving = piece("sdes.cld:CLD"), piece("sdes.cld:CLD", gamma=1.0)
    points = {"vae": _latent(smoke)}
    for calls in (None, 10, 50):
        name = "" if calls is None else f".{calls}"
        points |= {
            f"pixel_vpsde{name}": _pixel_score(smoke, linear, _ddim(calls)),
            f"pixel_cld{name}": _pixel_score(smoke, still, _sscs(calls)),
            f"lsgm{name}": _latent(smoke, linear, _ddim(calls)),
            f"lsgm_geometric{name}": _latent(smoke, geometric, _ddim(calls)),
            f"lsgm_cld{name}": _latent(smoke, moving, _sscs(calls)),
        }
    return points | {"pixel_gan": _pixel_gan(smoke), "lsgm_gan": _latent_gan(smoke)}


def _ddim(calls: int | None) -> dict[str, Any]:
    if calls is None:
        return pieces.adaptive_ode(1e-2, t_end=T_END)
    return piece("samplers.ddim:DDIM", num_steps=calls, t_end=T_END)


def _sscs(calls: int | None) -> dict[str, Any]:
    if calls is None:
        return pieces.adaptive_ode(1e-2, t_end=T_END) | dict(denoise="drift")
    return piece("samplers.sscs:SSCS", num_steps=calls, t_end=T_END)


def _pixel_network(smoke: bool, **fields: Any) -> dict[str, Any]:
    """Of 28x28, 14x14 and 7x7."""
    width = 8 if smoke else 16
    return dict(
        channels=width,
        channel_mult=(1, 2, 2),
        blocks_per_level=1,
        attention_resolutions=(),
        time_channels=4 * width,
        dropout=0.0,
        **fields,
    )


def _on_pixels(smoke: bool, likelihood: str, **stage: Any) -> dict[str, Any]:
    return dict(
        vae=piece(
            "vae:IdentityVAE",
            data_shape=(SIZE, SIZE, 1),
            likelihood=piece(f"data_space:{likelihood}", num_bits=8),
        ),
        stage_order=("prior",),
        stages=dict(
            prior=pieces.stage(
                smoke, num_steps=PRIOR_STEPS, batch_size=BATCH, ema=EMA, **stage
            )
        ),
    )


def _pixel_score(
    smoke: bool, sde: dict[str, Any], sampler: dict[str, Any]
) -> dict[str, Any]:
    is_cld = sde["target"].endswith(":CLD")
    prior = piece(
        "priors.score:ScorePrior",
        sde=sde,
        network=piece(
            "networks.ncsnpp:NCSNpp", **_pixel_network(smoke, out_channels=1)
        ),
        weighting=piece("objectives.weighting:Unweighted"),
        time_sampler=piece("objectives.time_sampling:Uniform", t_min=T_END),
        mixed=False,
        base_added=is_cld,
        sampler=sampler,
    )
    adam = pieces.adam(1e-3, PRIOR_STEPS, clip_norm=1.0)
    return _on_pixels(
        smoke, "DequantisationLikelihood", prior=prior, optimizers=dict(prior=adam)
    )


def _gan_prior(
    generator: dict[str, Any], discriminator: dict[str, Any], **fields: Any
) -> dict[str, Any]:
    return piece(
        "priors.ddgan:DenoisingGAN",
        chain=piece("sdes.chain:Chain", num_steps=4),
        generator=generator,
        discriminator=discriminator,
        r1=piece("objectives.adversarial:LazyR1", gamma=0.05),
        **fields,
    )


def _gan_adam() -> dict[str, Any]:
    lr = pieces.learning_rate(3e-4, 1.5e-5, PRIOR_STEPS)
    return piece("training.optim:Adam", lr=lr, beta_1=0.5, beta_2=0.9)


def _pixel_gan(smoke: bool) -> dict[str, Any]:
    width = 8 if smoke else 16
    style = dict(latent_dim=16, style_channels=32, mapping_layers=1)
    prior = _gan_prior(
        generator=piece(
            "networks.generator:Generator", **_pixel_network(smoke, **style)
        ),
        discriminator=piece(
            "networks.discriminator:Discriminator",
            stem=width,
            widths=(2 * width, 4 * width),
            keep_first=False,
            head_scale=1.0,
        ),
    )
    return _on_pixels(
        smoke,
        "RoundingLikelihood",
        prior=prior,
        optimizers=dict(generator=_gan_adam(), discriminator=_gan_adam()),
    )


def _latent(
    smoke: bool,
    sde: dict[str, Any] | None = None,
    sampler: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """VAE and score prior in two stages; the VAE alone without a process."""
    shared = dict(batch_size=BATCH, ema=EMA)
    penalty = dict(vae=pieces.regularization(1e-2))
    stages = dict(
        vae=pieces.stage(
            smoke,
            prior=pieces.normal_prior(),
            num_steps=VAE_STEPS,
            optimizers=dict(vae=pieces.adamax(1e-2, VAE_STEPS)),
            kl=pieces.annealing(VAE_STEPS, 0.3, coeff_max=1.0 if sde is None else 0.7),
            balance_kl=True,
            regularization=penalty,
            **shared,
        )
    )
    if sde is not None:
        adam = pieces.adam
        network = pieces.small_ncsnpp(smoke, out_channels=LATENTS)
        stages["lsgm"] = pieces.stage(
            smoke,
            prior=pieces.score_prior(
                network=network, sde=sde, sampler=sampler, mixing_logit_init=-2.0
            ),
            num_steps=PRIOR_STEPS,
            optimizers=dict(vae=adam(3e-4, PRIOR_STEPS), prior=adam(1e-3, PRIOR_STEPS)),
            kl=pieces.annealing(PRIOR_STEPS, 0.0, coeff_min=1.0),
            regularization=penalty,
            **shared,
        )
    return dict(vae=_vae(), stage_order=tuple(stages), stages=stages)


LATENTS = 2


def _vae() -> dict[str, Any]:
    """128 latents, 8x8x2."""
    return pieces.small_nvae(
        base_channels=12,
        channel_mult=(1, 2, 4),
        preprocess_cells=1,
        postprocess_cells=1,
        groups_per_scale=1,
        latents_per_group=LATENTS,
        num_outputs=2,
    ) | dict(likelihood=piece("distributions:LogisticLikelihood", num_bits=8))


def _latent_gan(smoke: bool) -> dict[str, Any]:
    """LSGM, then a GAN on its latents, VAE frozen."""
    point = _latent(smoke, piece("sdes.vpsde:VPSDE"), _ddim(None))
    width = 8 if smoke else 64
    network = pieces.small_ncsnpp(smoke, latent_dim=16, style_channels=32)
    prior = _gan_prior(
        generator=network
        | dict(
            target="lsgm.networks.generator:Generator", mapping_layers=1, bounded=False
        ),
        discriminator=piece(
            "networks.discriminator:Discriminator",
            stem=width,
            widths=(2 * width,),
            keep_first=False,
            head_scale=1.0,
        ),
        standardise=True,
    )
    groups = ("standardisation", "generator", "discriminator")
    point["stages"]["gan"] = pieces.stage(
        smoke,
        prior=prior,
        num_steps=PRIOR_STEPS,
        batch_size=BATCH,
        ema=EMA,
        optimizers={group: _gan_adam() for group in groups},
    )
    return {**point, "stage_order": ("vae", "lsgm", "gan")}

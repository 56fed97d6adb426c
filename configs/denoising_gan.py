"""What the published denoising diffusion GANs on images share: builders.

Values that all of them have in common stand here, values of one in its file. They are
those of the commands published with the code. The paper's appendix differs in places;
the files say where. Where the training is ours rather than theirs:

- learning rates fall along a cosine in steps, published is one in epochs;
- R1 has the lazy factor: ``gamma`` is the published one over its period.

Source: Denoising diffusion GANs, arXiv 2112.07804, and the code published with it.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import paper, pieces
from configs.pieces import piece

LR_END = 1e-5


def generator(smoke: bool, **fields: Any) -> dict[str, Any]:
    """NCSN++ with a style in both norms of a block, an input pyramid, attention at 16.

    Args:
      fields: ``channels``, ``channel_mult``, ``mapping_layers``.
    """
    channels = 8 if smoke else fields["channels"]
    network = dict(
        blocks_per_level=2,
        attention_resolutions=(16,),
        fir=True,
        embedding=piece("networks.embeddings:Positional", dim=channels, scale=1.0),
        time_channels=4 * channels,
        latent_dim=100,
        style_channels=256,
    )
    network |= fields
    if smoke:
        network |= dict(channels=channels, blocks_per_level=1, mapping_layers=1)
        network |= dict(latent_dim=8, style_channels=16)
    return piece("networks.generator:Generator", **network)


def discriminator(smoke: bool, size: int) -> dict[str, Any]:
    """The small one for images of 32x32, the large one for others."""
    small = size == 32
    widths = (128, 256, 512, 512) if small else (256, 512, 512, 512, 512, 512)
    network = dict(
        stem=128,
        widths=widths,
        keep_first=small,
        head_scale=1e-10 if small else 1.0,
    )
    if smoke:
        embedding = piece("networks.embeddings:Positional", dim=16, scale=1.0)
        network |= dict(stem=8, widths=(8,) * len(widths), time_channels=16)
        network |= dict(embedding=embedding)
    return piece("networks.discriminator:Discriminator", **network)


def image_run(
    smoke: bool,
    *,
    seed: int,
    data: dict[str, Any],
    size: int,
    chain_steps: int,
    network: dict[str, Any],
    r1: tuple[float, int],
    rates: tuple[float, float],
    ema_decay: float,
    batch_size: int,
    num_steps: int,
    evaluation: dict[str, Any],
    measures: tuple[dict[str, Any], ...] = (),
) -> ConfigDict:
    """One stage on the images themselves, and its evaluation.

    Args:
      chain_steps: T.
      network: fields of the generator.
      r1: the published gamma and its period.
      rates: of generator and discriminator, where they start.
      evaluation: of ``configs.pieces.evaluation``; measures: further ones.
    """
    gamma, every = r1

    def adam(peak: float) -> dict[str, Any]:
        lr = piece(
            "training.optim:WarmupCosine", peak=peak, end=LR_END, num_steps=num_steps
        )
        return piece("training.optim:Adam", lr=lr, beta_1=0.5, beta_2=0.9)

    prior = piece(
        "priors.ddgan:DenoisingGAN",
        chain=piece("sdes.chain:Chain", num_steps=chain_steps),
        generator=generator(smoke, **network),
        discriminator=discriminator(smoke, size),
        r1=piece("objectives.adversarial:LazyR1", gamma=gamma / every, every=every),
    )
    stage = dict(
        prior=prior,
        optimizers=dict(generator=adam(rates[0]), discriminator=adam(rates[1])),
        ema=piece("training.optim:Ema", decay=ema_decay),
        batch_size=batch_size,
        keep_best=evaluation.get("extractor") is not None,
        **paper.periods(num_steps),
    )
    measured = pieces.evaluation(smoke, **evaluation)
    measured["measures"] += measures
    return pieces.new_config(
        seed=seed,
        data=data,
        vae=piece(
            "vae:IdentityVAE",
            data_shape=(size, size, 3),
            likelihood=piece("data_space:RoundingLikelihood", num_bits=8),
        ),
        stage_order=("prior",),
        stages=dict(prior=pieces.stage(smoke, **stage)),
        evaluation=measured,
    )


def figures(name: str, **fields: Any) -> dict[str, Any]:
    """The paper's figures of a run, for its ledger."""
    source = f"Denoising diffusion GAN, arXiv 2112.07804: {name}"
    return piece("reports.ledger:Ledger", source=source, **fields)

"""A sampler of two calls on the demo's latents, beside the score prior with a bound.

    make demo
    python -m experiments.train --config=configs/latent_gan.py --workdir=runs/latent_gan
    python -m experiments.evaluate --checkpoint=runs/latent_gan         # two calls
    python -m experiments.evaluate --checkpoint=runs/latent_gan/lsgm    # has the bound

The first two stages are ``configs/demo.py``. The third freezes their VAE and trains a
denoising diffusion GAN on its latents, standardised by channel, without tanh, with a
discriminator of its own: 4x4 maps need no halving. It bounds nothing and so trains no
encoder; the likelihood of the model is the second stage's. Here not yet run.

No such prior is published. Two steps, since latents of a VAE are nearly Normal.
"""

from ml_collections import ConfigDict

from configs import demo, pieces
from configs.pieces import piece

STEPS = 3000


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    sections = demo.get_config(arg).to_dict()
    smoke = arg == "smoke"
    channels, width = (8, 8) if smoke else (32, 64)
    time = piece("networks.embeddings:Positional", dim=32, scale=1.0)
    prior = piece(
        "priors.ddgan:DenoisingGAN",
        chain=piece("sdes.chain:Chain", num_steps=2),
        generator=piece(
            "networks.generator:Generator",
            channels=channels,
            channel_mult=(1,),
            blocks_per_level=2,
            attention_resolutions=(),
            embedding=time,
            time_channels=4 * channels,
            latent_dim=100,
            style_channels=4 * channels,
            bounded=False,
        ),
        discriminator=piece(
            "networks.discriminator:Discriminator",
            stem=width,
            widths=(width, 2 * width),
            keep_first=True,
            head_scale=1.0,
            embedding=time,
            time_channels=width,
        ),
        r1=piece("objectives.adversarial:LazyR1", gamma=0.02),
        standardise=True,
    )

    def adam(peak: float, **fields: float) -> dict:
        lr = pieces.learning_rate(peak, peak / 20, STEPS)
        return piece("training.optim:Adam", lr=lr, **fields)

    gan = pieces.stage(
        smoke,
        prior=prior,
        num_steps=STEPS,
        batch_size=64,
        optimizers=dict(
            generator=adam(2e-4, beta_1=0.5, beta_2=0.9),
            discriminator=adam(2e-4, beta_1=0.5, beta_2=0.9),
            # Means and deviations: known to a hundredth within some hundred steps.
            standardisation=adam(1e-2),
        ),
        ema=piece("training.optim:Ema", decay=0.99, warmup=True),
        sample_every=STEPS // 3,
        eval_every=STEPS // 3,
    )
    sections["stages"] = sections["stages"] | dict(gan=gan)
    sections["stage_order"] = (*sections["stage_order"], "gan")
    return pieces.new_config(**sections)

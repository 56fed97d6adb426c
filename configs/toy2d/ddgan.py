"""A denoising diffusion GAN on points of the plane; by default 25 Gaussians.

    python -m experiments.train --config=configs/toy2d/ddgan.py --workdir=runs/gan
    python -m experiments.train --config=configs/toy2d/ddgan.py --workdir=runs/gan_1 \\
        --config.stages.prior.prior.chain.num_steps=1

Four large steps, each undone by one call of a generator. Published are networks of
three layers of 512, batches of 512, and 50,000 steps. Here they are a quarter as wide,
and see waves of their inputs. The generator learns ten times as slowly as the
discriminator: faster ones pile up samples on a few modes. Variants as in
``configs/toy2d/vpsde.py``.
"""

from ml_collections import ConfigDict

from configs.pieces import learning_rate, piece
from configs.toy2d.recipe import run_on_plane

STEPS = 10_000


def get_config(arg: str = "gaussians") -> ConfigDict:
    """The run on one set of points."""
    width = 8 if arg == "smoke" else 128

    def adam(peak: float) -> dict:
        lr = learning_rate(peak, peak / 20, STEPS)
        return piece("training.optim:Adam", lr=lr, beta_1=0.0, beta_2=0.9)

    return run_on_plane(
        arg,
        prior=piece(
            "priors.ddgan:DenoisingGAN",
            chain=piece("sdes.chain:Chain", num_steps=4),
            generator=piece("networks.gan_mlp:MLPGenerator", width=width, latent_dim=4),
            discriminator=piece(
                "networks.gan_mlp:MLPDiscriminator", width=width, octaves=5
            ),
            r1=piece("objectives.adversarial:LazyR1", gamma=0.05),
        ),
        num_steps=STEPS,
        batch_size=256,
        optimizers=dict(generator=adam(1e-4), discriminator=adam(1e-3)),
        ema_decay=0.999,
        default="gaussians",
    )

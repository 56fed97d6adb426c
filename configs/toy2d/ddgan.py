"""A denoising diffusion GAN on points of the plane; by default 25 Gaussians.

    python -m experiments.train --config=configs/toy2d/ddgan.py --workdir=runs/gan
    python -m experiments.train --config=configs/toy2d/ddgan.py --workdir=runs/gan_1 \\
        --config.stages.prior.prior.chain.num_steps=1

Four large steps, each undone by one call of a generator. Published are networks of
three layers of 512, batches of 512, and 50,000 steps. Here they are a quarter as wide,
and the discriminator sees waves of its inputs.

Levels are not the published ones, whose last step has to choose among many modes at
once: variances grow geometrically, so that each step has a share of the choice
(``docs/ddgan.md``). Variants as in ``configs/toy2d/vpsde.py``.
"""

from ml_collections import ConfigDict

from configs.pieces import learning_rate, piece
from configs.toy2d.recipe import run_on_plane

STEPS = 10_000


def get_config(arg: str = "gaussians") -> ConfigDict:
    """The run on one set of points."""
    width = 8 if arg == "smoke" else 128
    levels = piece("sdes.geometric:GeometricVPSDE", var_min=3e-3, var_max=0.9999)

    def adam(peak: float) -> dict:
        lr = learning_rate(peak, peak / 20, STEPS)
        return piece("training.optim:Adam", lr=lr, beta_1=0.0, beta_2=0.9)

    return run_on_plane(
        arg,
        prior=piece(
            "priors.ddgan:DenoisingGAN",
            chain=piece("sdes.chain:Chain", num_steps=4, sde=levels),
            generator=piece("networks.gan_mlp:MLPGenerator", width=width, latent_dim=4),
            discriminator=piece(
                "networks.gan_mlp:MLPDiscriminator", width=width, octaves=5
            ),
            r1=piece("objectives.adversarial:LazyR1", gamma=0.002),
        ),
        num_steps=STEPS,
        batch_size=256,
        optimizers=dict(generator=adam(1e-3), discriminator=adam(1e-3)),
        ema_decay=0.999,
        default="gaussians",
    )

"""CelebA-HQ-256, a denoising diffusion GAN. Published: FID 7.64, 2 network calls.

    python -m experiments.train --config=configs/celeba_hq_256/ddgan.py \\
        --workdir=runs/celeba_gan

Here not yet run. 39.7 M parameters in the generator, 27.7 M in the discriminator;
published on 8 GPUs (V100) in about 180 hours. The released weights are of epoch 550 of
the 800 here. The paper's appendix has R1 1 at every step and an average of 0.999.
"""

from ml_collections import ConfigDict

from configs import denoising_gan, paper, pieces


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    return denoising_gan.image_run(
        smoke,
        seed=1,
        data=paper.celeba_hq_data() | dict(num_bits=8),
        size=256,
        chain_steps=2,
        network=dict(channels=64, channel_mult=(1, 1, 2, 2, 4, 4), mapping_layers=3),
        r1=(2.0, 10),
        rates=(2e-4, 1e-4),
        ema_decay=0.9999,
        batch_size=32,
        num_steps=800 * 843,
        evaluation=dict(
            batch_size=32,
            num_samples=50_000,
            extractor=None if smoke else paper.inception(),
            ledger=denoising_gan.figures("CelebA-HQ-256", fid=7.64, nfe=2.0),
            **paper.test_as_held_out("validation"),
        ),
    )

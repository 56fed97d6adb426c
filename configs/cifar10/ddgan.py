"""CIFAR-10, a denoising diffusion GAN. Published: FID 3.75, recall 0.57, 4 calls.

    python -m experiments.train --config=configs/cifar10/ddgan.py --workdir=runs/c10g

Here not yet run. 48.4 M parameters in the generator, 12.7 M in the discriminator;
published on 4 GPUs (V100) in about 48 hours; IS 9.63. The released weights are of epoch
1200 of the 1800 here. The paper's appendix has R1 0.05, a discriminator's rate of 1e-4,
batches of 128, 400,000 steps, and a latent of 256 with a style of 512.
"""

from ml_collections import ConfigDict

from configs import denoising_gan, paper, pieces


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    return denoising_gan.image_run(
        smoke,
        seed=1,
        data=paper.cifar10_data(),
        size=32,
        chain_steps=4,
        network=dict(channels=128, channel_mult=(1, 2, 2, 2), mapping_layers=4),
        r1=(0.02, 15),
        rates=(1.6e-4, 1.25e-4),
        ema_decay=0.9999,
        batch_size=256,
        num_steps=1800 * 195,
        evaluation=dict(
            num_samples=50_000,
            extractor=None if smoke else paper.inception(),
            # 0.21 s for 100 images on a V100.
            ledger=denoising_gan.figures(
                "CIFAR-10", fid=3.75, nfe=4.0, seconds_per_sample=0.0021
            ),
            **paper.test_as_held_out("train"),
        ),
    )

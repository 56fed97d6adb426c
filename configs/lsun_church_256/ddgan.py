"""LSUN Church 256, a denoising diffusion GAN. Published: FID 5.25, 4 network calls.

    python -m experiments.prepare_data --from=lmdb --root=church_outdoor_train_lmdb \\
        --name=lsun_church_256 --image_shape=256,256,3 --resize=box \\
        --first=train=120000,test=6000                        # once, see docs/data.md
    python -m experiments.train --config=configs/lsun_church_256/ddgan.py \\
        --workdir=runs/church

Here not yet run. 39.7 M parameters in the generator, 27.7 M in the discriminator;
published on 8 GPUs (V100) in about 180 hours, on the first 120,000 images. The paper's
appendix has R1 1 at every step, a generator's rate of 2e-4, and 600,000 steps.
"""

from ml_collections import ConfigDict

from configs import denoising_gan, paper, pieces


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    return denoising_gan.image_run(
        smoke,
        seed=1,
        data=pieces.piece(
            "data.images:Images",
            source=pieces.tfds("lsun_church_256", train="train", test="test"),
            image_shape=(256, 256, 3),
            num_bits=8,
            flip=True,
        ),
        size=256,
        chain_steps=4,
        network=dict(channels=64, channel_mult=(1, 1, 2, 2, 4, 4), mapping_layers=3),
        r1=(1.0, 10),
        rates=(1.6e-4, 1e-4),
        ema_decay=0.999,
        batch_size=64,
        num_steps=500 * 1875,
        evaluation=dict(
            batch_size=32,
            num_samples=50_000,
            extractor=None if smoke else paper.inception(),
            ledger=denoising_gan.figures("LSUN Church 256", fid=5.25, nfe=4.0),
            **paper.test_as_held_out("train"),
        ),
    )

"""StackedMNIST, a denoising diffusion GAN. Published: 1000 modes, KL 0.071.

    python -m experiments.prepare_data --from=idx --root=DIR --name=stacked_mnist \\
        --stack_passes=2 --stack_pad=2                        # once, see docs/data.md
    python -m experiments.train --config=configs/stacked_mnist/ddgan.py \\
        --workdir=runs/stacked

Three digits of MNIST in the three colours make 1000 modes; 120,000 images, padded to
32x32. Here not yet run. Number of steps, batch, rates and length were not published:
networks and rates are those of CIFAR-10, the length is a guess. No image is mirrored.
"""

from ml_collections import ConfigDict

from configs import denoising_gan, paper, pieces


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    modes = pieces.measure(
        "modes:StackedModeCoverage", num_samples=8 if smoke else 25_600
    )
    return denoising_gan.image_run(
        smoke,
        seed=1,
        data=pieces.piece(
            "data.images:Images",
            source=pieces.tfds("stacked_mnist", train="train", test="test"),
            image_shape=(32, 32, 3),
            num_bits=8,
        ),
        size=32,
        chain_steps=4,
        network=dict(channels=128, channel_mult=(1, 2, 2, 2), mapping_layers=4),
        r1=(0.02, 15),
        rates=(1.6e-4, 1.25e-4),
        ema_decay=0.9999,
        batch_size=256,
        num_steps=100 * 468,
        evaluation=dict(num_samples=25_600, **paper.test_as_held_out("train")),
        measures=(modes,),
    )

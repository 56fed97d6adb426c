"""MNIST through TFDS: the demo's model, wider, for an afternoon on one GPU.

    python -m experiments.prepare_data --help          # once, see docs/data.md
    python -m experiments.train --config=configs/mnist/small.py --workdir=runs/mnist

Dynamically binarised 28x28 digits, 60,000 for training; NVAE with two groups of 20
latents at 8x8, the VAE of LSGM's MNIST recipe at a quarter of its width; linear
VPSDE, likelihood weighting and proposal. Reached: not yet run.
"""

from ml_collections import ConfigDict

from configs import pieces


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    return pieces.binary_run(
        arg,
        source=pieces.tfds("mnist", train="train[:55000]", validation="train[55000:]"),
        vae_steps=30_000,
        prior_steps=60_000,
    )

"""Fashion-MNIST through TFDS: as configs/mnist/small.py.

    python -m experiments.prepare_data --help          # once, see docs/data.md
    python -m experiments.train --config=configs/fashion_mnist/small.py \
        --workdir=runs/fashion_mnist

Dynamically binarised 28x28 pieces of clothing, 60,000 of them, the last 5,000 for
validation. Reached: not yet run.
"""

from ml_collections import ConfigDict

from configs import pieces


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    return pieces.binary_run(
        arg,
        source=pieces.tfds(
            "fashion_mnist", train="train[:55000]", validation="train[55000:]"
        ),
        vae_steps=30_000,
        prior_steps=60_000,
    )

"""Fashion-MNIST on two CPU cores in about an hour: the demo, four times as large.

    python -m experiments.prepare_data --from=idx --root=DIR \
        --name=fashion_mnist --version=3.0.1                  # once, see docs/data.md
    python -m experiments.train --config=configs/fashion_mnist/laptop.py \
        --workdir=runs/fashion_laptop

Dynamically binarised 28x28 pieces of clothing; an NVAE with one group of 128 latents,
8x8x2, whose aggregate posterior is a mixture with a known density, as
docs/samplers.md asks of a model that samplers are measured on.

Reached, seed 0, 2 busy CPU cores, monitored bound on 500 validation images: 246.5 nats
after stage ``vae``, 225.9 after stage ``lsgm``; 32 network calls per sample at 1e-2.
"""

from ml_collections import ConfigDict

from configs import pieces


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    return pieces.laptop_run(
        smoke,
        source=pieces.tfds(
            "fashion_mnist", train="train[:55000]", validation="train[55000:]"
        ),
        vae=pieces.small_nvae(
            base_channels=12,
            channel_mult=(1, 2, 4),
            preprocess_blocks=2,
            preprocess_cells=1,
            postprocess_cells=1,
            groups_per_scale=1,
            latents_per_group=2,
        ),
        channel_mult=(1, 1),
        steps=(2500, 5000),
        batch_size=64,
        ema_decay=0.995,
        coeff_max=0.7,
        samples=5,
        rates=(2e-4, 1e-3),
        evaluation=pieces.evaluation(
            smoke,
            bound=dict(num_examples=2000),
            extractor=pieces.piece(
                "features.classifier:ClassifierFeatures", weights="fashion_cnn.npz"
            ),
        ),
    )

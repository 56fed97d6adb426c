"""Which scales should the score prior model? The deepest, the finer, or both.

    python -m experiments.ablate --config=configs/ablations/prior_scales.py \
        --workdir=runs/prior_scales --jobs=2

A VAE with latents at 8x8 and 4x4, two channels each; what the prior does not model
keeps N(0, I). Both together are one z0 at 4x4, the finer latents folded into channels.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import pieces
from configs.ablations.common import small_base, study


def get_config(arg: str = "full") -> ConfigDict:
    """The study; ``smoke`` takes two steps a stage."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    base: Any = small_base(smoke)
    base.vae.network.update(dict(preprocess_blocks=2, num_scales=2))
    levels = "stages.lsgm.prior.network.channel_mult"
    return study(
        title="Scales of the score prior, 5,000 digits",
        base=base,
        axes=dict(
            prior={
                "4x4": {"vae.prior_scales": (0,)},
                "8x8": {"vae.prior_scales": (1,), levels: (1, 1)},
                "both": {"vae.prior_scales": (0, 1)},
            }
        ),
        seeds=(0,) if smoke else (0, 1, 2),
    )

"""Where should the latents live? Resolution of the latents against channels per group.

    python -m experiments.ablate --config=configs/ablations/latent_resolution.py \
        --workdir=runs/latent_resolution --jobs=2

``cpu``: the 5,000 embedded digits, one scale with one group at 16x16, 8x8, 4x4 or 2x2,
2 or 4 channels, three seeds; small networks: 24 runs took 47 minutes on two cores,
the page included. ``smoke``: two points of it, two steps a stage. ``celeba_hq_256``:
the quantitative recipe with one to three scales behind one to three halvings, and
fewer channels per group. The score prior models the deepest scale; ``prior_scales.py``
varies that.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import pieces
from configs.ablations.common import small_base, study
from configs.celeba_hq_256 import quantitative

NVAE = "vae.network"
LEVELS = "stages.lsgm.prior.network.channel_mult"


def get_config(arg: str = "cpu") -> ConfigDict:
    """The study, in one of its sizes."""
    size = pieces.variant(arg, "cpu", "smoke", "celeba_hq_256")
    if size == "celeba_hq_256":
        return _celeba_hq_256()
    axes = dict(
        resolution={
            "16x16": _at(1, (1, 2), (1, 1)),
            "8x8": _at(2, (1, 2, 4), (1, 1)),
            "4x4": _at(3, (1, 2, 4, 8), (1,)),
            "2x2": _at(4, (1, 2, 4, 8, 8), (1,)),
        },
        channels={str(num): {f"{NVAE}.latents_per_group": num} for num in (2, 4)},
    )
    smoke = size == "smoke"
    if smoke:
        axes = {
            "resolution": {n: axes["resolution"][n] for n in ("4x4", "2x2")},
        }
    return study(
        title="Latent resolution on 5,000 digits",
        base=small_base(smoke),
        axes=axes,
        seeds=(0,) if smoke else (0, 1, 2),
    )


def _at(halvings: int, vae: tuple[int, ...], score: tuple[int, ...]) -> dict[str, Any]:
    """Latents after so many halvings, with the channels of each level of the VAE and
    of the score network."""
    return {
        f"{NVAE}.preprocess_blocks": halvings,
        f"{NVAE}.channel_mult": vae,
        LEVELS: score,
    }


def _celeba_hq_256() -> ConfigDict:
    return study(
        title="Latent resolution on CelebA-HQ-256",
        base=quantitative.get_config(),
        axes=dict(
            scales={
                # As published: latents at 128, 64 and 32, the prior at 32x32.
                "128-32": _scales(1, (1, 1, 2, 4), (1, 2, 2, 2)),
                "64-32": _scales(2, (1, 1, 2, 4), (1, 2, 2, 2)),
                "32": _scales(3, (1, 1, 2, 4), (1, 2, 2, 2)),
                "128-64": _scales(1, (1, 1, 2), (1, 2, 2, 2, 2)),
                "64-16": _scales(2, (1, 1, 2, 4, 8), (1, 2, 2)),
            },
            channels={str(num): {f"{NVAE}.latents_per_group": num} for num in (10, 20)},
        ),
        seeds=(1, 2, 3),
        match="flop",
    )


def _scales(
    halvings: int, vae: tuple[int, ...], score: tuple[int, ...]
) -> dict[str, Any]:
    return {
        **_at(halvings, vae, score),
        f"{NVAE}.num_scales": len(vae) - halvings,
    }

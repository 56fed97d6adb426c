"""The sub-VP SDE on CIFAR-10 itself. Published: FID 2.61, deep 2.41.

    python -m experiments.train --config=configs/cifar10/subvpsde.py --workdir=runs/a

Here not yet run. Published too: 3.02 bits/dim, deep 2.99. DDPM++ with 61.8 M
parameters, or deep, with eight blocks a level. 1.3 M steps of 128 images, deep 950,000.
Published sampler: Euler-Maruyama, 1000 calls, of which the last adds no noise.

Source: Song et al., arXiv 2011.13456.
"""

from ml_collections import ConfigDict

from configs import data_space, pieces
from configs.pieces import piece

STEPS = 1_300_000
DEEP_STEPS = 950_000
# Per dimension as published, and summed here: Adam sees the factor in eps alone.
DIMS = 32 * 32 * 3


def get_config(arg: str = "full") -> ConfigDict:
    """The run, ``full`` or ``deep``; ``smoke`` takes two steps of the first."""
    arg = pieces.variant(arg, "full", "smoke", "deep")
    smoke, deep = arg == "smoke", arg == "deep"
    steps = DEEP_STEPS if deep else STEPS
    network = data_space.network(
        smoke,
        channel_mult=(1, 2, 2, 2),
        blocks_per_level=8 if deep else 4,
        embedding=data_space.positional(smoke, scale=999.0),
    )
    prior = piece(
        "priors.score:ScorePrior",
        sde=piece("sdes.subvpsde:SubVPSDE"),
        network=network,
        weighting=piece("objectives.weighting:Unweighted"),
        time_sampler=piece("objectives.time_sampling:Uniform", t_min=1e-5),
        mixed=False,
        sampler=piece(
            "samplers.euler_maruyama:EulerMaruyama",
            num_steps=4 if smoke else 999,
            t_end=1e-3,
            denoise="drift",
        ),
    )
    return data_space.run(
        smoke,
        size=32,
        prior=prior,
        optimizer=data_space.warmed_adam(
            2e-4, 5000, steps, clip_norm=1.0 * DIMS, eps=1e-8 * DIMS
        ),
        num_steps=steps,
        batch_size=128,
        ema_decay=0.9999,
        ledger=None
        if smoke
        else piece(
            "reports.ledger:Ledger",
            source="Song et al., arXiv 2011.13456: DDPM++ sub-VP, continuous",
            fid=2.41 if deep else 2.61,
            bits_per_dim=2.99 if deep else 3.02,
            nfe=1000.0,
        ),
    )

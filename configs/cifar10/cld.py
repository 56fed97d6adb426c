"""Critically-damped Langevin diffusion on CIFAR-10. Published: FID 2.25, 312 calls.

    python -m experiments.train --config=configs/cifar10/cld.py --workdir=runs/c10cld
    python -m experiments.sample --checkpoint=runs/c10cld \\
        --sampler=lsgm.samplers.sscs:SSCS --sampler_arg=num_steps=149

Here not yet run. Published too: FID 2.23 with Euler-Maruyama at 2000 calls, 3.07 with
SSCS at 150, both on quadratic grids; at most 3.31 bits/dim; 107.6 M parameters; 800,000
steps of 128 images. Differences: single precision, and dequantised training images.
"""

from ml_collections import ConfigDict

from configs import data_space, pieces
from configs.pieces import piece

STEPS = 800_000


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    network = data_space.network(
        smoke,
        channel_mult=(1, 2, 2, 2),
        blocks_per_level=8,
        fir=True,
        progressive_input="residual",
        embedding=data_space.fourier(smoke, log_time=True),
    )
    return data_space.run(
        smoke,
        size=32,
        prior=data_space.cld_prior(smoke, network=network, t_min=1e-5),
        optimizer=data_space.warmed_adam(2e-4, 100_000, STEPS, clip_norm=1.0),
        num_steps=STEPS,
        batch_size=128,
        ema_decay=0.9999,
        ledger=None
        if smoke
        else piece(
            "reports.ledger:Ledger",
            source="CLD, arXiv 2112.07068: CIFAR-10, probability flow",
            fid=2.25,
            bits_per_dim=3.31,
            nfe=312.0,
        ),
    )

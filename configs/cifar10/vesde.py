"""The VESDE on CIFAR-10 itself. Published: FID 2.38; deep 2.20.

    python -m experiments.train --config=configs/cifar10/vesde.py --workdir=runs/a

Here not yet run. NCSN++ with 62.8 M parameters, or deep, with eight blocks a level,
107.6 M and 950,000 steps. Images lie in [-1, 1] here, so variances are four times
those published for [0, 1]. Random frequencies of log sigma are such of t, in which it
is linear.
Published sampler: predictor-corrector, 2000 calls, with reverse diffusion as predictor.

Source: Song et al., arXiv 2011.13456.
"""

from ml_collections import ConfigDict

from configs import data_space, pieces
from configs.pieces import piece

STEPS = 1_300_000
DEEP_STEPS = 950_000
SIGMAS = (0.02, 100.0)
LOG_RATIO = 8.5172  # of the logarithms of the two


def get_config(arg: str = "full") -> ConfigDict:
    """The run, ``full`` or ``deep``; ``smoke`` takes two steps of the first."""
    arg = pieces.variant(arg, "full", "smoke", "deep")
    smoke, deep = arg == "smoke", arg == "deep"
    steps = DEEP_STEPS if deep else STEPS
    network = data_space.network(
        smoke,
        channel_mult=(1, 2, 2, 2),
        blocks_per_level=8 if deep else 4,
        fir=True,
        progressive_input="residual",
        embedding=data_space.fourier(smoke, scale=16 * LOG_RATIO),
    )
    prior = data_space.ve_prior(
        smoke, network=network, sigmas=SIGMAS, num_steps=1000, snr=0.16
    )
    return data_space.run(
        smoke,
        size=32,
        prior=prior,
        optimizer=data_space.warmed_adam(2e-4, 5000, steps, clip_norm=2.0),
        num_steps=steps,
        batch_size=128,
        ema_decay=0.999,
        ledger=None
        if smoke
        else piece(
            "reports.ledger:Ledger",
            source="Song et al., arXiv 2011.13456: NCSN++ VE, continuous",
            fid=2.20 if deep else 2.38,
            nfe=2000.0,
        ),
    )

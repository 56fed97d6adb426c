"""The VESDE on CelebA-HQ at 256 x 256 itself. No figure published for 256.

    python -m experiments.train --config=configs/celeba_hq_256/vesde.py --workdir=runs/v

Here not yet run. NCSN++ with skipped pyramids at both ends, 2.4 M steps of 64 images.
Images lie in [-1, 1] here, so variances are four times those published for [0, 1].
Published sampler: predictor-corrector, with reverse diffusion as predictor.

Source: Song et al., arXiv 2011.13456, appendix H.
"""

from ml_collections import ConfigDict

from configs import data_space, pieces

STEPS = 2_400_000
SIGMAS = (0.02, 696.0)
LOG_RATIO = 10.4574  # of the logarithms of the two


def get_config(arg: str = "full") -> ConfigDict:
    """The run; ``smoke`` takes two steps."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    network = data_space.network(
        smoke,
        channel_mult=(1, 1, 2, 2, 2, 2, 2)[: 3 if smoke else 7],
        blocks_per_level=2,
        fir=True,
        progressive_input="skip",
        progressive_output="skip",
        dropout=0.0,
        embedding=data_space.fourier(smoke, scale=16 * LOG_RATIO),
    )
    prior = data_space.ve_prior(
        smoke, network=network, sigmas=SIGMAS, num_steps=2000, snr=0.075
    )
    return data_space.run(
        smoke,
        size=256,
        prior=prior,
        optimizer=data_space.warmed_adam(2e-4, 5000, STEPS, clip_norm=2.0),
        num_steps=STEPS,
        batch_size=64,
        ema_decay=0.999,
        ledger=None,
    )

"""Critically-damped Langevin diffusion on CelebA-HQ at 256 x 256. No figure published.

    python -m experiments.train --config=configs/celeba_hq_256/cld.py --workdir=runs/hq

Here not yet run. ``full`` has the settings that its authors recommend after the paper:
103.1 M parameters, a rate that grows with time, a larger cutoff, weight decay.
``paper`` has those of the paper, 65.5 M parameters, whose training they call
unstable. Times are features without a factor, as published: the network can hardly
tell 1e-5 from 1e-3. Of two published batch sizes, 64 and 96, this is the command's.
"""

from ml_collections import ConfigDict

from configs import data_space, pieces


def get_config(arg: str = "full") -> ConfigDict:
    """The run, ``full`` or ``paper``; ``smoke`` takes two steps of the first."""
    arg = pieces.variant(arg, "full", "smoke", "paper")
    smoke, paper = arg == "smoke", arg == "paper"
    steps = 320_000 if paper else 600_000
    network = data_space.network(
        smoke,
        channel_mult=(1, 1, 2, 2, 2, 2, 2)[: 3 if smoke else 7],
        blocks_per_level=2 if paper else 4,
        embedding=data_space.positional(smoke, scale=1.0),
    )
    rate = dict(beta_0=4.0, beta_1=4.0) if paper else dict(beta_0=0.1, beta_1=7.0)
    decay = {} if paper else dict(weight_decay=1e-2, decay_all=True)
    return data_space.run(
        smoke,
        size=256,
        prior=data_space.cld_prior(
            smoke, network=network, t_min=1e-5 if paper else 1e-3, **rate
        ),
        optimizer=data_space.warmed_adam(1e-4, 100_000, steps, clip_norm=1.0, **decay),
        num_steps=steps,
        batch_size=64,
        ema_decay=0.9999,
        ledger=None,
    )

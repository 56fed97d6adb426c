"""LSGM with critically-damped Langevin diffusion in latent space, on 5,000 digits.

    python -m experiments.train --config=configs/latent_cld.py --workdir=runs/latent_cld
    python -m experiments.train --config=configs/latent_cld.py:vpsde --workdir=runs/vp

The demo's VAE, network, steps and data; VAE and prior are trained together by the exact
bound, whose gradient reaches the encoder through positions and velocities. Nobody has
published such a model that we know of. Variants:

- ``full``: velocities start as they end (gamma = 1), so that the prior without a
  network is standard Normal;
- ``still``: gamma = 0.04, as published for images;
- ``matched``: time runs such that the signal-to-noise ratio is the VPSDE's;
- ``own_times``: times of the encoder drawn for itself;
- ``vpsde``: the control, as in ``configs/demo.py``.

Reached, by the first: ``docs/cld.md``. The others are not yet run.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import demo, pieces
from configs.pieces import piece


def get_config(arg: str = "full") -> ConfigDict:
    """One variant; ``smoke`` takes two steps a stage of the first."""
    arg = pieces.variant(arg, "full", "smoke", "still", "matched", "own_times", "vpsde")
    config: Any = demo.get_config("smoke" if arg == "smoke" else "full")
    if arg == "vpsde":
        return config
    prior = config.stages.lsgm.prior
    sde = piece("sdes.cld:CLD", gamma=0.04 if arg == "still" else 1.0)
    if arg == "matched":
        like = piece("sdes.vpsde:VPSDE")
        sde = piece("sdes.matched_cld:MatchedCLD", gamma=1.0, like=like)
    prior.sde = ConfigDict(sde)
    prior.network.out_channels = 2
    prior.sampler = ConfigDict(
        {**pieces.adaptive_ode(1e-2, t_end=1e-3), "denoise": "drift"}
    )
    if arg == "own_times":
        prior.encoder_times = ConfigDict(pieces.importance("LikelihoodWeighting"))
    return config

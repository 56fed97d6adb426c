"""Which objective trains the prior? Weighting, time sampling, and process.

    python -m experiments.ablate --config=configs/ablations/weighting.py \
        --workdir=runs/weighting --jobs=2

One VAE for each seed, then frozen; the prior alone is trained on its latents, once for
each objective and process. ``skipped`` counts updates that were not finite.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import pieces
from configs.ablations.common import prior_alone, small_base, study
from configs.pieces import piece

PRIOR = "stages.lsgm.prior"
WEIGHTINGS = {
    "likelihood": "LikelihoodWeighting",
    "reweighted": "Reweighted",
    "unweighted": "Unweighted",
}


def get_config(arg: str = "full") -> ConfigDict:
    """The study; ``smoke`` takes two steps a stage."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    base: Any = small_base(smoke, steps=(240, 160))
    for key, value in prior_alone(base).items():
        base.stages.lsgm[key] = value
    return study(
        title="Weighting, time sampling and process on 5,000 digits",
        base=base,
        axes=dict(
            process={
                "vpsde": {f"{PRIOR}.sde": piece("sdes.vpsde:VPSDE")},
                "geometric": {f"{PRIOR}.sde": piece("sdes.geometric:GeometricVPSDE")},
            },
            objective={
                f"{name}-{times}": _objective(weighting, times)
                for name, weighting in WEIGHTINGS.items()
                for times in ("uniform", "importance")
            },
        ),
        seeds=(0,) if smoke else (0, 1, 2),
        measures=("bound", "gain", "frechet", "kernel", "calls", "skipped"),
    )


def _objective(weighting: str, times: str) -> dict[str, Any]:
    sampler = (
        pieces.importance(weighting)
        if times == "importance"
        else piece("objectives.time_sampling:Uniform")
    )
    return {
        f"{PRIOR}.weighting": piece(f"objectives.weighting:{weighting}"),
        f"{PRIOR}.time_sampler": sampler,
    }

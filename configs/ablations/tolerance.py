"""What do network calls buy? Tolerance of the adaptive solver on one model a seed.

    python -m experiments.ablate --config=configs/ablations/tolerance.py \
        --workdir=runs/tolerance --jobs=2

Parameters do not depend on the sampler: both stages are trained once for each seed,
the points only evaluate.
"""

from ml_collections import ConfigDict

from configs import pieces
from configs.ablations.common import small_base, study


def get_config(arg: str = "full") -> ConfigDict:
    """The study; ``smoke`` takes two steps a stage."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    sampler = "stages.lsgm.prior.sampler"
    return study(
        title="Tolerance against network calls, 5,000 digits",
        base=small_base(smoke),
        axes=dict(
            tolerance={
                f"{tolerance:.0e}": {
                    f"{sampler}.rtol": tolerance,
                    f"{sampler}.atol": tolerance,
                }
                for tolerance in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
            }
        ),
        seeds=(0,) if smoke else (0, 1, 2),
        measures=("bound", "frechet", "kernel", "calls", "milliseconds"),
    )

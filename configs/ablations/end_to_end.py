"""Is it worth training VAE and prior together? Against a VAE that stays as it is.

    python -m experiments.ablate --config=configs/ablations/end_to_end.py \
        --workdir=runs/end_to_end --jobs=2
"""

from ml_collections import ConfigDict

from configs import pieces
from configs.ablations.common import prior_alone, small_base, study


def get_config(arg: str = "full") -> ConfigDict:
    """The study; ``smoke`` takes two steps a stage."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    base = small_base(smoke)
    frozen = {f"stages.lsgm.{k}": v for k, v in prior_alone(base).items()}
    return study(
        title="End to end against a frozen VAE, 5,000 digits",
        base=base,
        axes=dict(training={"together": {}, "frozen": frozen}),
        seeds=(0,) if smoke else (0, 1, 2),
    )

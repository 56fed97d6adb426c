"""Is it worth training VAE and prior together? Against two stages of equal cost.

Both train the same number of FLOP in all. Where the VAE stays as it is in the second
stage, its steps there are cheaper: both stages get longer for it. The VAE then ends its
own stage at a KL coefficient of 1, as joint training does.

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
    frozen["stages.vae.kl.coeff_max"] = 1.0
    return study(
        title="End to end against two stages, at equal FLOP, 5,000 digits",
        base=base,
        axes=dict(training={"together": {}, "two_stages": frozen}),
        match="total_flop",
        seeds=(0,) if smoke else (0, 1, 2),
    )

"""Does the mixed score help? On and off, on one VAE for each seed, trained together.

    python -m experiments.ablate --config=configs/ablations/mixed_score.py \
        --workdir=runs/mixed_score --jobs=2
"""

from ml_collections import ConfigDict

from configs import pieces
from configs.ablations.common import small_base, study


def get_config(arg: str = "full") -> ConfigDict:
    """The study; ``smoke`` takes two steps a stage."""
    smoke = pieces.variant(arg, "full", "smoke") == "smoke"
    key = "stages.lsgm.prior.mixed"
    return study(
        title="Mixed score on 5,000 digits",
        base=small_base(smoke),
        axes=dict(mixed={"on": {key: True}, "off": {key: False}}),
        seeds=(0,) if smoke else (0, 1, 2),
    )

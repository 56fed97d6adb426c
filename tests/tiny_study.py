"""The smallest study: one VAE, two priors on it."""

from ml_collections import ConfigDict

from configs.ablations.common import study
from tests import tiny


def get_config() -> ConfigDict:
    base = tiny.config()
    base.evaluation.measures = tuple(
        m for m in base.evaluation.measures if "FlowLikelihood" not in m["target"]
    )
    key = "stages.lsgm.prior.mixed"
    return study(
        title="Tiny",
        base=base,
        axes=dict(mixed={"on": {key: True}, "off": {key: False}}),
        seeds=(0,),
        measures=("latent_dims", "parameters", "train_flop", "bound", "gain", "calls"),
    )

"""The smallest studies: one VAE, two priors on it, with a bound or without one."""

from ml_collections import ConfigDict

from configs.ablations.common import study
from configs.pieces import measure, variant
from tests import tiny


def get_config(arg: str = "score") -> ConfigDict:
    if variant(arg, "score", "boundless") == "boundless":
        return _boundless()
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


def _boundless() -> ConfigDict:
    """The bound is asked for, as every study does, and no point has one."""
    base = tiny.config()
    stage = base.stages.lsgm
    adam = stage.optimizers.vae.to_dict()
    del stage.optimizers, stage.regularization, stage.prior
    stage.optimizers = {"generator": adam}
    stage.prior = {"target": "tests.priors.boundless:MomentMatching"}
    base.evaluation.measures = (
        measure("bound:HeldOutBound", num_examples=8),
        measure("reconstruction:Reconstruction", num_examples=8),
        measure("sampling:SamplingCost", timing_repeats=1),
    )
    critic = {"target": "tests.priors.boundless:Adversarial"}
    adversarial = {
        "stages.lsgm.prior": critic,
        "stages.lsgm.optimizers": {"critic": adam, "generator": adam},
    }
    return study(
        title="Tiny, without a bound",
        base=base,
        axes=dict(prior={"moments": {}, "critic": adversarial}),
        seeds=(0,),
        measures=("bound", "bits_per_dim", "sampling.nfe", "parameters"),
    )

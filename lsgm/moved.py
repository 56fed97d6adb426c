"""Classes and fields that moved: what older configs name, and its name of today.

Checkpoints and ``config.json`` name classes by path. An entry here stays for good.
"""

from collections.abc import Mapping
from typing import Any

# (module then, module now, classes)
_MOVES = (
    ("data.arrays", "data.sources.arrays", ("Npz",)),
    ("data.cifar", "data.sources.cifar", ("CIFAR10",)),
    ("data.idx", "data.sources.idx", ("IDX",)),
    ("data.image_folder", "data.sources.image_folder", ("ImageFolder",)),
    ("data.image_zip", "data.sources.image_zip", ("ImageZip",)),
    ("data.lmdb_source", "data.sources.lmdb_source", ("LMDB",)),
    ("data.mnist5k", "data.sources.mnist5k", ("MNIST5k",)),
    ("data.parquet", "data.sources.parquet", ("Parquet",)),
    ("data.tfds_source", "data.sources.tfds_source", ("TFDS",)),
    ("data.tfrecord", "data.sources.tfrecord", ("TFRecord",)),
    ("elbo", "objective", ("Regularization",)),
    ("evaluation.exploration", "evaluation.measures.exploration", ("Exploration",)),
    ("evaluation.features", "features.classifier", ("ClassifierFeatures",)),
    ("evaluation.inception_features", "features.inception", ("InceptionFeatures",)),
    ("evaluation.ledger", "reports.ledger", ("Ledger",)),
    ("evaluation.manifolds", "statistics.manifolds", ("Manifolds",)),
    ("evaluation.memorization", "evaluation.measures.memorization", ("Memorization",)),
    ("evaluation.mobilenet_features", "features.mobilenet", ("MobileNetFeatures",)),
    ("evaluation.reference", "features.reference", ("Reference",)),
    ("experiment", "runs.experiment", ("Experiment",)),
    ("kl_balance", "objectives.kl_balance", ("KLSchedule",)),
)
_FLOW_LIKELIHOOD = "lsgm.evaluation.measures.likelihood:FlowLikelihood"
MOVED = {
    f"lsgm.{then}:{name}": f"lsgm.{now}:{name}"
    for then, now, names in _MOVES
    for name in names
} | {
    # Renamed, whether before a move or after it.
    "lsgm.evaluation.likelihood:Likelihood": _FLOW_LIKELIHOOD,
    "lsgm.evaluation.measures.likelihood:Likelihood": _FLOW_LIKELIHOOD,
    "lsgm.objectives.weighting:Likelihood": (
        "lsgm.objectives.weighting:LikelihoodWeighting"
    ),
    "lsgm.samplers.grids:Uniform": "lsgm.samplers.grids:UniformGrid",
    "lsgm.data.pipeline:Data": "lsgm.data.images:Images",
}
# By class of today: field then, field now.
RENAMED_FIELDS = {"lsgm.vae:VAE": {"image_shape": "data_shape"}}


_EVALUATION = "lsgm.evaluation.settings:Evaluation"
_MEASURES = "lsgm.evaluation.measures."


def renew(value: Any) -> Any:
    """A plain config, or a part of one, in the names of today."""
    if isinstance(value, tuple):
        return tuple(renew(v) for v in value)
    if not isinstance(value, Mapping):
        return value
    target = value.get("target")
    if isinstance(target, str):
        target = MOVED.get(target, target)
        value = {**value, "target": target}
    fields = RENAMED_FIELDS.get(target, {}) if isinstance(target, str) else {}
    found: dict[Any, Any] = {fields.get(k, k): renew(v) for k, v in value.items()}
    if target == _EVALUATION and "measures" not in found:
        return _with_measures(found)
    return found


def _with_measures(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation whose measures were fields of it, switched off by ``None``, by no
    examples, or by there being no extractor."""
    rest = dict(evaluation)

    def piece(target: str, **names: str) -> dict[str, Any]:
        fields = {new: rest.pop(old) for new, old in names.items() if old in rest}
        return {"target": _MEASURES + target, **fields}

    terms = {
        name: rest.pop(name) for name in ("num_examples", "num_draws") if name in rest
    }
    cost = piece("sampling:SamplingCost", timing_repeats="timing_repeats")
    distances = piece("distances:Distances", manifolds="manifolds")
    latents = piece("latents:LatentStatistics", num_examples="latent_examples")
    likelihood = rest.pop("likelihood", None)
    memorization = rest.pop("memorization", piece("memorization:Memorization"))
    exploration = rest.pop("exploration", None)
    compared = rest.get("extractor") is not None
    asked = (
        (piece("bound:HeldOutBound") | terms, True),
        (piece("reconstruction:Reconstruction") | terms, True),
        (likelihood, likelihood is not None),
        (cost, True),
        (piece("pictures:Pictures"), True),
        (distances, compared),
        (memorization, compared and memorization is not None),
        (exploration, exploration is not None),
        (latents, latents.get("num_examples") != 0),
    )
    return {**rest, "measures": tuple(m for m, wanted in asked if wanted)}

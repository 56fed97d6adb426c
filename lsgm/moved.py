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
    ("evaluation.ledger", "reports.ledger", ("Entry", "Ledger")),
    ("evaluation.likelihood", "evaluation.measures.likelihood", ("Likelihood",)),
    ("evaluation.manifolds", "statistics.manifolds", ("Manifolds",)),
    ("evaluation.memorization", "evaluation.measures.memorization", ("Memorization",)),
    ("evaluation.mobilenet_features", "features.mobilenet", ("MobileNetFeatures",)),
    ("evaluation.reference", "features.reference", ("Reference",)),
    ("experiment", "runs.experiment", ("Experiment",)),
    ("kl_balance", "objectives.kl_balance", ("KLSchedule",)),
)
MOVED = {
    f"lsgm.{then}:{name}": f"lsgm.{now}:{name}"
    for then, now, names in _MOVES
    for name in names
} | {
    "lsgm.data.pipeline:Data": "lsgm.data.images:Images",
}
# By class of today: field then, field now.
RENAMED_FIELDS = {"lsgm.vae:VAE": {"image_shape": "data_shape"}}


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
    return {fields.get(k, k): renew(v) for k, v in value.items()}

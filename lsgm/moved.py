"""Classes that moved: the path that older configs name, and the path of today.

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
# (module, class then, class now)
_RENAMES = (
    ("objectives.weighting", "Likelihood", "LikelihoodWeighting"),
    ("samplers.grids", "Uniform", "UniformGrid"),
)
MOVED = {
    f"lsgm.{then}:{name}": f"lsgm.{now}:{name}"
    for then, now, names in _MOVES
    for name in names
} | {f"lsgm.{place}:{then}": f"lsgm.{place}:{now}" for place, then, now in _RENAMES}


def name_anew(config: Any) -> Any:
    """A config with every class under the path of today."""
    if isinstance(config, Mapping):
        return {key: name_anew(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(map(name_anew, config))
    return MOVED.get(config, config) if isinstance(config, str) else config

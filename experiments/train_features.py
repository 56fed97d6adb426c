"""Train a classifier of a labelled data set, whose features measure samples.

    python -m experiments.train_features --config=configs/demo.py \\
        --name="digit CNN" --out=lsgm/features/weights/digit_cnn.npz

Learns the labels of the config's ``data`` on its train split (minutes on two cores)
and writes the weights, with their provenance beside them as ``.json``. An evaluation
takes them as ``piece("features.classifier:ClassifierFeatures", weights=...)``.
"""

import dataclasses
import json
import pathlib
import shlex
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from experiments.flag_errors import parse_flags
from lsgm.config import ConfigError
from lsgm.features.training import Recipe, train_and_write
from lsgm.runs import experiment

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with a variant after a colon.", lock_config=True
)
_NAME = flags.DEFINE_string(
    "name", None, "What reports call the features.", required=True
)
_OUT = flags.DEFINE_string("out", None, "Where the weights go, .npz.", required=True)
_EPOCHS = flags.DEFINE_integer(
    "num_epochs", Recipe.num_epochs, "Passes over the train split.", lower_bound=1
)


def main(argv: list[str]) -> None:
    """Train, write, and say how good the classifier is."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    path = pathlib.Path(_OUT.value)
    if path.suffix != ".npz":
        sys.exit(f"error: --out={path}: the file is an .npz")
    recipe = dataclasses.replace(Recipe(), num_epochs=_EPOCHS.value)
    command = shlex.join(["python", "-m", "experiments.train_features", *sys.argv[1:]])
    try:
        data = experiment.described(_CONFIG.value).data
        with experiment.name_data_keys(data):
            provenance = train_and_write(recipe, data, _NAME.value, path, command)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(provenance, indent=2))


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=parse_flags)

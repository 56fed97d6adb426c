"""Statistics of real images that samples are compared with, in a file.

    python -m experiments.build_reference --config=configs/demo.py --split=train \\
        --out=references/mnist5k_train.npz

Streams every image of the split through the config's ``evaluation.extractor``. An
evaluation takes the file by ``evaluation.reference``, and refuses it where extractor,
resolution, resize or bit depth differ.
"""

import json
import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from experiments.flag_errors import parse_flags
from lsgm.config import ConfigError
from lsgm.features import reference
from lsgm.features.weights_file import WeightsError
from lsgm.runs import experiment

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with a variant after a colon.", lock_config=True
)
_SPLIT = flags.DEFINE_string("split", "train", "Split of the real images.")
_OUT = flags.DEFINE_string("out", None, "The file, .npz.", required=True)
_NUM_FEATURES = flags.DEFINE_integer(
    "num_features",
    10_000,
    "Features to keep, drawn at random, for kernel distances and manifolds.",
    lower_bound=100,
)


def main(argv: list[str]) -> None:
    """Build, write, and print the record."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    path = pathlib.Path(_OUT.value)
    if path.suffix != ".npz":
        sys.exit(f"error: --out={path}: the file is an .npz")
    try:
        described = experiment.described(_CONFIG.value)
        settings = described.evaluation
        if settings.extractor is None:
            raise ConfigError("evaluation.extractor", None, "name one")
        with experiment.name_data_keys(described.data):
            found = reference.build(
                described.data,
                _SPLIT.value,
                settings.extractor,
                num_bits=settings.reference_bits,
                batch_size=settings.batch_size,
                num_features=_NUM_FEATURES.value,
            )
    except (ConfigError, WeightsError, OSError) as error:
        sys.exit(f"error: {error}")
    print(json.dumps(reference.write(path, found), indent=2))


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=parse_flags)

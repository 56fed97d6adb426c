"""Train the digit classifier whose features measure samples, and its provenance.

    python -m experiments.train_features

Trains on the train split of mnist5k only (a few minutes on two cores) and writes
``lsgm/evaluation/weights/digit_cnn.npz`` and ``.json``: the weights that ship.
"""

import json
import pathlib

from absl import app, flags

from lsgm.data.mnist5k import MNIST5k
from lsgm.evaluation.classifier_training import Recipe, train_and_write
from lsgm.evaluation.features import DIGIT_CNN

_OUTPUT = flags.DEFINE_string("output", str(DIGIT_CNN), "Where the weights go, .npz.")


def main(argv: list[str]) -> None:
    """Train, write, and say how good the classifier is."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    path = pathlib.Path(_OUTPUT.value)
    provenance = train_and_write(Recipe(), MNIST5k(), "digit CNN", path)
    print(json.dumps(provenance, indent=2))


if __name__ == "__main__":
    app.run(main)

"""Walk through a trained model: round trips, interpolations, a traversal as video.

    python -m experiments.explore --checkpoint=runs/demo
    python -m experiments.explore --checkpoint=runs/demo --what=traversal --num=16

Writes ``round_trip.png`` (held-out image, its reconstruction, then noised to each time
and solved back), ``interpolation.png`` (between two held-out images, through the noise
that the probability-flow ODE makes of them) and ``traversal.gif`` (a closed walk
between noises, each frame solved to a sample); see ``docs/evaluation.md``.
"""

import pathlib
import sys

import numpy as np
from absl import app, flags, logging

from experiments import path_flags
from experiments.flag_errors import parse_flags
from experiments.trust_flag import trusted
from lsgm.config import ConfigError
from lsgm.data.views import View
from lsgm.evaluation import walks
from lsgm.evaluation.measures.exploration import Exploration
from lsgm.evaluation.subject import EvaluationRun
from lsgm.files import write_file
from lsgm.reports import plots
from lsgm.runs.experiment import name_data_keys
from lsgm.runs.measure import subject_of
from lsgm.runs.restore import restore
from lsgm.streams import MAX_SEED
from lsgm.terminal import forgive_output
from lsgm.training.checkpoints import CheckpointError

WHAT = ("round_trip", "interpolation", "traversal")
_CHECKPOINT = path_flags.DEFINE_folder(
    "checkpoint",
    "A workdir, a stage's folder, or a checkpoint.",
    writes=False,
    required=True,
)
_WHAT = flags.DEFINE_multi_enum("what", list(WHAT), WHAT, "Which; may be repeated.")
_OUT = path_flags.DEFINE_folder(
    "out", "Folder to write to; default: <checkpoint>/explore.", writes=True
)
_NUM = flags.DEFINE_integer("num", 6, "Images, pairs, or walks.", lower_bound=1)
_STEPS = flags.DEFINE_integer(
    "num_steps", 9, "Images from one end to the other, ends included.", lower_bound=2
)
_NOISES = flags.DEFINE_integer(
    "num_noises", 4, "Noises that a traversal visits.", lower_bound=2
)
_TIMES = flags.DEFINE_multi_float(
    "time", list(Exploration().times), "Times of the round trip; may be repeated."
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of all draws.", lower_bound=0, upper_bound=MAX_SEED
)
_AVERAGE = flags.DEFINE_bool("average", True, "Use averaged parameters.")


def main(argv: list[str]) -> None:
    """Restore, walk, write."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    forgive_output()
    path: pathlib.Path = _CHECKPOINT.value
    out = _OUT.value or path_flags.beside(path, "explore")
    try:
        settings = Exploration(
            num=_NUM.value,
            times=tuple(_TIMES.value),
            num_steps=_STEPS.value,
            num_noises=_NOISES.value,
        )
        restored = restore(path, average=_AVERAGE.value, trust=trusted())
        run = EvaluationRun(subject_of(restored, seed=_SEED.value), _SEED.value)
        out.mkdir(parents=True, exist_ok=True)
        with name_data_keys(restored.experiment.data):
            for what in _WHAT.value:
                images = np.asarray(settings.walk(run, what))
                print(_write(out, what, images, run.subject.data.view))
    except (
        ConfigError,
        CheckpointError,
        OSError,
        ValueError,
        FloatingPointError,
    ) as error:
        sys.exit(f"error: {error}")


def _write(
    out: pathlib.Path, what: str, images: np.ndarray, view: View
) -> pathlib.Path:
    if what == "traversal":
        walks.save_gif(out / "traversal.gif", images, view)
        return out / "traversal.gif"
    write_file(out / f"{what}.png", plots.png(view.path(images)))
    return out / f"{what}.png"


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)

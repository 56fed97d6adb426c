"""Pictures to look at: samples, reconstructions, the way from noise."""

import dataclasses
from typing import ClassVar

import jax
import numpy as np

from lsgm.evaluation.measures.base import Measure, Needs
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.reports import plots
from lsgm.reports.page import Figure, Section
from lsgm.streams import Use, stream

NUM_SHOWN, COLUMNS = 96, 16
NUM_PAIRS = 24
PATH_IMAGES, PATH_STEPS = 8, 9
# Title of the section that comparisons show.
SAMPLES = "Samples"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures(Measure):
    """Samples, reconstructions, and where there is a diffusion its path."""

    name: ClassVar[str] = "pictures"

    @property
    def needs(self) -> Needs:
        """The images that are shown."""
        return Needs(num_images=NUM_SHOWN)

    def run(self, run: EvaluationRun) -> Result:
        """One section for each."""
        view = run.subject.data.view
        samples = Figure(
            png=plots.png(view.picture(run.generated.images[:NUM_SHOWN], COLUMNS)),
            caption="Means of the decoder's distribution, not selected.",
        )
        return Result(
            sections=[
                Section(title=SAMPLES, figures=[samples]),
                Section(title="Reconstructions", figures=[_reconstructions(run)]),
                *_path(run),
            ]
        )


def _reconstructions(run: EvaluationRun) -> Figure:
    subject, model = run.subject, run.subject.model
    x = run.held_out_data(NUM_PAIRS)
    decoded = jax.jit(model.reconstruct)(
        subject.params,
        subject.mutables,
        stream(run.seed, Use.RECONSTRUCTIONS),
        x,
    )
    real = np.asarray(model.vae.likelihood.shown(x))
    return Figure(
        png=plots.png(subject.data.view.pairs(real, np.asarray(decoded))),
        caption="Held-out images, each with its reconstruction to the right.",
    )


def _path(run: EvaluationRun) -> list[Section]:
    if run.subject.model.prior.diffusion is None:
        return []
    path = next(run.draw(PATH_IMAGES, PATH_IMAGES, num_path=PATH_STEPS)).path
    assert path is not None
    figure = Figure(
        png=plots.png(run.subject.data.view.path(path)),
        caption="Latents on their way from noise (left) to a sample, decoded.",
    )
    return [Section(title="From noise to image", figures=[figure])]

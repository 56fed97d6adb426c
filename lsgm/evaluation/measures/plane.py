"""A prior on points of the plane, looked at: samples over data, and its score."""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.data.views import PlaneView
from lsgm.evaluation.measures.base import Measure, Needs, require_positive
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.reports.figures import draw_png
from lsgm.reports.page import Figure, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

SIDE = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanePictures(Measure):
    """Samples over held-out data, and where there is a diffusion the learned score.

    Attributes:
      num_points: points drawn of each.
      times: when the score is shown.
    """

    name: ClassVar[str] = "plane"

    num_points: int = 3000
    times: tuple[float, ...] = (0.01, 0.1, 0.3)

    def __post_init__(self) -> None:
        require_positive(self, "num_points")
        if not all(0 < t <= 1 for t in self.times):
            raise ValueError(f"times = {self.times}: each in (0, 1]")

    @property
    def needs(self) -> Needs:
        """The points that are drawn."""
        return Needs(num_images=self.num_points, num_examples=self.num_points)

    def run(self, run: EvaluationRun) -> Result:
        """One picture of samples, one of the score."""
        view = run.subject.data.view
        if not isinstance(view, PlaneView):
            raise ValueError(
                "measures.plane: shows points of the plane, not these data"
            )
        real = np.asarray(run.held_out_data(self.num_points)).reshape(-1, 2)
        drawn = run.generated.images[: self.num_points].reshape(-1, 2)
        figures = [
            Figure(
                png=_draw_points(view.extent, real, drawn),
                caption="Held-out data (left), and samples over them (right).",
                density=2,
            )
        ]
        if run.subject.model.prior.diffusion is not None:
            figures.append(
                Figure(
                    png=self._draw_score(run, view.extent),
                    caption="Direction of the learned score; the brighter an arrow, "
                    "the longer. Of a Langevin diffusion it is the velocity's, at the "
                    "velocity that Normal data would have there.",
                    density=2,
                )
            )
        return Result(sections=[Section(title="The plane", figures=figures)])

    def _draw_score(self, run: EvaluationRun, extent: float) -> bytes:
        axis = np.linspace(-extent, extent, SIDE)
        grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        fields = [np.asarray(score_on(run, grid, t)) for t in self.times]

        def fill(figure: "Canvas") -> None:
            places = figure.subplots(1, len(self.times), squeeze=False)[0]
            for axes, t, score in zip(places, self.times, fields, strict=True):
                length = np.linalg.norm(score, axis=-1)
                unit = score / np.maximum(length, 1e-12)[:, None]
                axes.quiver(*grid.T, *unit.T, np.log1p(length), scale=SIDE, width=5e-3)
                axes.set_title(f"t = {t:g}")
                _square(axes, extent)

        return draw_png((3.0 * len(self.times), 3.2), fill)


def score_on(run: EvaluationRun, points: np.ndarray, t: float) -> jax.Array:
    """The learned score of the noised part at ``points`` [n 2] and one time, [n 2]."""
    subject = run.subject
    prior: Any = subject.model.prior
    z0 = jnp.asarray(points, jnp.float32).reshape(-1, 1, 1, 2)
    times = jnp.full(len(points), t)
    u = prior.diffusion.lift(z0, times, jnp.zeros_like(z0)).u
    residual = prior.residual_fn(subject.params, subject.mutables)(u, times)
    eps = prior.diffusion.normal_eps(u, times) + residual
    return prior.diffusion.score(eps, times).reshape(-1, 2)


def _draw_points(extent: float, real: np.ndarray, drawn: np.ndarray) -> bytes:
    def fill(figure: "Canvas") -> None:
        left, right = figure.subplots(1, 2)
        dots = dict(s=3, linewidths=0)
        left.scatter(*real.T, color="C5", **dots)
        right.scatter(*real.T, color="0.85", **dots)
        right.scatter(*drawn.T, color="C0", **dots)
        for axes, title in ((left, "data"), (right, "samples")):
            axes.set_title(title)
            _square(axes, extent)

    return draw_png((7.0, 3.7), fill)


def _square(axes: Any, extent: float) -> None:
    axes.set_xlim(-extent, extent)
    axes.set_ylim(-extent, extent)
    axes.set_aspect("equal")
    axes.grid(False)

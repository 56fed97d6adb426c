"""Walks through a model in the report: round trips and interpolations."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.evaluation import walks
from lsgm.evaluation.measures.base import Measure, require_positive
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.evaluation.walks import Walker
from lsgm.reports import plots
from lsgm.reports.page import Figure, Section
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.streams import Use, stream
from lsgm.typing import Array

# Walks that are solved at once: an adaptive solver's steps depend on all of them.
TOGETHER = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exploration(Measure):
    """Pictures of walks (``lsgm.evaluation.walks``).

    Attributes:
      num: images of a round trip, pairs of an interpolation, walks of a traversal.
      times: how far to go on a round trip, each in (0, 1].
      num_steps: images from one end of a walk to the other, ends included.
      num_noises: noises that a traversal visits before it returns to the first.
      flow: how the ODE is solved.
    """

    name: ClassVar[str] = "exploration"

    num: int = 6
    times: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    num_steps: int = 9
    num_noises: int = 4
    flow: ProbabilityFlow = ProbabilityFlow(rtol=1e-3, atol=1e-3)

    def __post_init__(self) -> None:
        require_positive(self, "num")
        for name in ("num_steps", "num_noises"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} = {getattr(self, name)}: at least 2")
        if not all(self.flow.t_end <= t <= 1 for t in self.times):
            raise ValueError(
                f"times = {self.times}: must lie in [t_end = {self.flow.t_end}, 1]"
            )

    def run(self, run: EvaluationRun) -> Result:
        """Strips of both; of a prior without diffusion no round trips."""
        sections = []
        solved = run.subject.model.prior.diffusion is not None
        if solved:
            times = ", ".join(f"{t:g}" for t in self.times)
            sections.append(
                Section(
                    title="Round trips",
                    figures=[self._strip(run, "round_trip")],
                    text=f"Held-out image, its reconstruction, then noised to t = "
                    f"{times} and solved back: what is kept of an image at each time.",
                )
            )
        sections.append(
            Section(
                title="Interpolation",
                figures=[self._strip(run, "interpolation")],
                text="Two held-out images (outermost) and the spherical way between "
                + (
                    "the noises that the ODE makes of them."
                    if solved
                    else "their latents."
                ),
            )
        )
        return Result(sections=sections)

    def walk(self, run: EvaluationRun, what: str) -> Array:
        """Images in [0, 1], [k num h w c]; walk i is a function of (seed, i).

        Args:
          what: "round_trip" (data, then each time), "interpolation" (data, from one
            to the other, data) or "traversal".

        Raises:
          ValueError: a round trip of a prior without diffusion.
        """
        subject = run.generator
        walk = walks.walker(subject.model, subject.params, subject.mutables, self.flow)
        if what == "round_trip" and subject.model.prior.diffusion is None:
            raise ValueError(f"what = {what!r}: this stage's prior has no diffusion")
        step = {
            "round_trip": self._round_trip,
            "interpolation": self._interpolation,
            "traversal": self._traversal,
        }[what]
        parts = [step(run, walk, k) for k in range(-(-self.num // TOGETHER))]
        return jnp.concatenate(parts, axis=1)[:, : self.num]

    def _round_trip(self, run: EvaluationRun, walk: Walker, k: int) -> Array:
        x = run.held_out_batch(k, TOGETHER, at_least=self.num)
        key = jax.random.fold_in(stream(run.seed, Use.ROUND_TRIP), k)
        times = (self.flow.t_end, *self.times)
        trips = walks.round_trips(walk, x, times, self.flow.t_end, key)
        return jnp.concatenate([self._shown(run, x)[None], trips])

    def _interpolation(self, run: EvaluationRun, walk: Walker, k: int) -> Array:
        x = run.held_out_batch(k, 2 * TOGETHER, at_least=2 * self.num)
        ends = x[::2], x[1::2]
        first, last = (self._shown(run, end)[None] for end in ends)
        a, b = (walk.encode(end) for end in ends)
        key = stream(run.seed, Use.INTERPOLATION)
        walked = walks.interpolate(walk, a, b, self.num_steps, self.flow.t_end, key)
        return jnp.concatenate([first, walked, last])

    def _traversal(self, run: EvaluationRun, walk: Walker, k: int) -> Array:
        key = jax.random.fold_in(stream(run.seed, Use.TRAVERSAL), k)
        keys = jax.random.split(key, self.num_noises)
        noises = [walk.noise(TOGETHER, key) for key in keys]
        return walks.traverse(walk, noises, self.num_steps, self.flow.t_end)

    def _shown(self, run: EvaluationRun, x: Array) -> Array:
        return run.subject.model.vae.likelihood.shown(x)

    def _strip(self, run: EvaluationRun, what: str) -> Figure:
        picture = run.subject.data.view.path(np.asarray(self.walk(run, what)))
        return Figure(png=plots.png(picture), alt=what.replace("_", " "))

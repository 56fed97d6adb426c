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
from lsgm.reports import plots
from lsgm.reports.page import Figure, Section
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.typing import Array


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
        """Images in [0, 1], [k num h w c].

        Args:
          what: "round_trip" (data, then each time), "interpolation" (data, from one
            to the other, data) or "traversal".

        Raises:
          ValueError: a round trip of a prior without diffusion.
        """
        subject, flow = run.generator, self.flow
        model, t_end = subject.model, flow.t_end
        walk = walks.walker(model, subject.params, subject.mutables, flow)
        key = jax.random.key(run.seed)
        if what == "traversal":
            keys = jax.random.split(key, self.num_noises)
            noises = [walk.noise(self.num, k) for k in keys]
            return walks.traverse(walk, noises, self.num_steps, t_end)
        x = run.held_out_data(2 * self.num)
        real = model.vae.likelihood.shown(x)
        a, b = slice(0, self.num), slice(self.num, None)
        if what == "round_trip":
            if model.prior.diffusion is None:
                raise ValueError(
                    f"what = {what!r}: this stage's prior has no diffusion"
                )
            times = (t_end, *self.times)
            trips = walks.round_trips(walk, x[a], times, t_end, key)
            return jnp.concatenate([real[a][None], trips])
        first, last = (walk.encode(x[part]) for part in (a, b))
        walked = walks.interpolate(walk, first, last, self.num_steps, t_end, key)
        return jnp.concatenate([real[a][None], walked, real[b][None]])

    def _strip(self, run: EvaluationRun, what: str) -> Figure:
        picture = run.subject.data.view.path(np.asarray(self.walk(run, what)))
        return Figure(png=plots.png(picture), alt=what.replace("_", " "))

"""Walks of a subject (``lsgm.evaluation.measures.exploration``) as pictures."""

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.evaluation.measures import exploration
from lsgm.evaluation.measures.exploration import Exploration
from lsgm.evaluation.subject import Run, Subject
from lsgm.model import LatentModel
from lsgm.reports import plots
from lsgm.reports.page import Figure, Section
from lsgm.typing import Array


def pictures(run: Run, settings: Exploration, what: str) -> Array:
    """Images in [0, 1], [k num h w c], of "round_trip" (data, then each time),
    "interpolation" (data, from one to the other, data) or "traversal"."""
    subject, flow = run.generator, settings.flow
    walk, key = (
        exploration.walker(subject.model, subject.params, subject.mutables, flow),
        jax.random.key(run.seed),
    )
    if what == "traversal":
        return exploration.traverse(walk, settings, key)
    x = _held_out(subject, 2 * settings.num)
    real = subject.model.vae.likelihood.shown(x)
    a, b = slice(0, settings.num), slice(settings.num, None)
    if what == "round_trip":
        _check_diffusion(subject.model)
        times = (flow.t_end, *settings.times)
        trips = exploration.round_trips(walk, x[a], times, flow.t_end, key)
        return jnp.concatenate([real[a][None], trips])
    first, last = (walk.encode(x[part]) for part in (a, b))
    walked = exploration.interpolate(walk, first, last, settings.num_steps, flow.t_end)
    return jnp.concatenate([real[a][None], walked, real[b][None]])


def _held_out(subject: Subject, num: int) -> Array:
    batches = subject.data.eval_batches(subject.settings.split, num, num)
    return subject.model.vae.preprocess(next(iter(batches)))


def _check_diffusion(model: LatentModel) -> None:
    if model.prior.diffusion is None:
        raise ValueError("what = 'round_trip': this stage's prior has no diffusion")


def sections(run: Run, settings: Exploration) -> list[Section]:
    """Strips for the report."""
    found = []
    solved = run.subject.model.prior.diffusion is not None
    if solved:
        times = ", ".join(f"{t:g}" for t in settings.times)
        found.append(
            Section(
                title="Round trips",
                figures=[_strip(run, settings, "round_trip")],
                text=f"Held-out image, its reconstruction, then noised to t = {times} "
                "and solved back: what is kept of an image at each time.",
            )
        )
    return [
        *found,
        Section(
            title="Interpolation",
            figures=[_strip(run, settings, "interpolation")],
            text="Two held-out images (outermost) and the spherical way between "
            + (
                "the noises that the ODE makes of them." if solved else "their latents."
            ),
        ),
    ]


def _strip(run: Run, settings: Exploration, what: str) -> Figure:
    path = np.asarray(pictures(run, settings, what))
    picture = run.subject.data.view.path(path)
    return Figure(png=plots.png(picture), alt=what.replace("_", " "))

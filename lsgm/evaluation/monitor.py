"""What is looked at while a stage trains: the held-out bound, samples, and how far
they are from real images."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lsgm.evaluation import sampling
from lsgm.evaluation.held_out import HeldOut
from lsgm.evaluation.measures.bound import bound_fn, example_values
from lsgm.evaluation.measures.modes import cover_modes
from lsgm.evaluation.settings import Evaluation
from lsgm.model import LatentModel
from lsgm.samplers.base import require_finite
from lsgm.statistics.estimate import estimate_mean
from lsgm.statistics.frechet import frechet, moments
from lsgm.training.observe import Observation, Observer
from lsgm.training.state import TrainState

Observe = Callable[[TrainState], Observation]


def where_finite(observe: Observe) -> Observe:
    """``observe``, but nothing seen, and a warning, where samples are not finite:
    a look at a model does not end its training."""

    def guarded(state: TrainState) -> Observation:
        try:
            return observe(state)
        except FloatingPointError as error:
            print(f"WARNING: step {state.step}: {error}", file=sys.stderr, flush=True)
            return Observation(scalars={})

    return guarded


def bound_observer(
    model: LatentModel, data: Any, settings: Evaluation, every: int
) -> Observer:
    """The bound's terms on held-out examples, in nats, or without a bound the
    reconstruction; the same examples and the same draws each time, so that a curve
    shows the model and not the dice."""
    terms = bound_fn(model)

    def observe(state: TrainState) -> Observation:
        batches = data.eval_batches(
            settings.monitor_split, settings.batch_size, settings.monitor_examples
        )
        held_out = HeldOut(data, batches)
        values = example_values(
            terms, state.averaged, state.mutables, held_out, jax.random.key(0)
        )
        scalars = {f"held_out/{k}": estimate_mean(v).value for k, v in values.items()}
        if "nelbo" in values and not model.vae.likelihood.density:
            name = f"bits_per_{data.unit}"
            scalars[f"held_out/{name}"] = held_out.bits(values["nelbo"])[name]
        return Observation(scalars=scalars)

    return Observer(every, observe)


def sample_observer(
    model: LatentModel, data: Any, settings: Evaluation, every: int
) -> Observer:
    """Samples from the same noise each time, reconstructions, and their calls."""
    num = settings.monitor_samples
    draw = sampling.sample_fn(
        model,
        num,
        temperature=settings.temperature,
        batch_statistics=settings.batch_statistics,
    )

    @jax.jit
    def reconstruct(params: Any, mutables: Any, batch: Any) -> Any:
        x = model.vae.preprocess(batch)
        decoded = model.reconstruct(params, mutables, jax.random.key(2), x)
        return model.vae.likelihood.shown(x), decoded

    @where_finite
    def observe(state: TrainState) -> Observation:
        generated = draw(state.averaged, state.mutables, jax.random.key(1))
        require_finite(generated.images, "samples")
        batch = next(
            iter(data.eval_batches(settings.monitor_split, num // 2, num // 2))
        )
        pairs = reconstruct(state.averaged, state.mutables, batch)
        scalars = {"samples/nfe": float(generated.nfe)}
        if data.modes is not None:
            found = cover_modes(np.asarray(generated.images), data.modes)
            scalars |= {"samples/modes": found.covered, "samples/near": found.near}
        return Observation(
            scalars=scalars,
            pictures={
                "samples": data.view.picture(np.asarray(generated.images)),
                "reconstructions": data.view.pairs(*map(np.asarray, pairs)),
            },
        )

    return Observer(every, observe)


DISTANCE = "samples/frechet"


def distance_observer(
    model: LatentModel, data: Any, settings: Evaluation, every: int
) -> Observer:
    """The Frechet distance of ``settings.selection_samples`` samples, from the same
    noise each time, to the evaluation's reference."""
    num = settings.selection_samples
    size = min(num, settings.batch_size)
    sample = sampling.sample_fn(
        model,
        size,
        temperature=settings.temperature,
        batch_statistics=settings.batch_statistics,
    )
    reference = functools.cache(
        lambda: settings.reference_statistics(data).sampled.moments
    )

    @where_finite
    def observe(state: TrainState) -> Observation:
        drawn = sampling.batches(sample, state.averaged, state.mutables, num, 0)
        fake = moments(settings.extractor(batch.images) for batch in drawn)
        return Observation(scalars={DISTANCE: frechet(fake, reference())})

    return Observer(every, observe)

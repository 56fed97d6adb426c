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
from lsgm.statistics.estimate import estimate_mean
from lsgm.statistics.frechet import frechet, moments
from lsgm.streams import Use, stream
from lsgm.training.observe import Observation, Observer
from lsgm.training.state import TrainState
from lsgm.typing import Params

# Of all that is drawn for a look at a model in training.
SEED = 0
Observe = Callable[[TrainState], Observation]


def _variables(state: TrainState) -> tuple[Params, Params]:
    """Parameters to look with, and mutables, on this process's first device."""
    return jax.device_put((state.averaged, state.mutables), jax.local_devices()[0])


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
    terms, key = bound_fn(model), stream(SEED, Use.MONITOR_BOUND)

    def observe(state: TrainState) -> Observation:
        batches = data.eval_batches(
            settings.monitor_split, settings.batch_size, settings.monitor_examples
        )
        held_out = HeldOut(data, batches)
        values = example_values(terms, *_variables(state), held_out, key)
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
    num, seen = settings.monitor_samples, max(settings.monitor_samples // 2, 1)
    sample_key = stream(SEED, Use.MONITOR_SAMPLES)
    noise_key = stream(SEED, Use.MONITOR_RECONSTRUCTIONS)
    sample = sampling.sample_fn(
        model,
        settings.batch_size,
        temperature=settings.temperature,
        batch_statistics=settings.batch_statistics,
    )

    @jax.jit
    def reconstruct(params: Any, mutables: Any, batch: Any) -> Any:
        x = model.vae.preprocess(batch)
        decoded = model.reconstruct(params, mutables, noise_key, x)
        return model.vae.likelihood.shown(x), decoded

    @where_finite
    def observe(state: TrainState) -> Observation:
        own = _variables(state)
        drawn = sampling.draw(sample, *own, num, sample_key)
        batch = next(iter(data.eval_batches(settings.monitor_split, seen, seen)))
        pairs = reconstruct(*own, batch)
        scalars = {"samples/nfe": float(drawn.nfe.mean())}
        if data.modes is not None:
            found = cover_modes(drawn.images, data.modes)
            scalars |= {"samples/modes": found.covered, "samples/near": found.near}
        return Observation(
            scalars=scalars,
            pictures={
                "samples": data.view.picture(drawn.images),
                "reconstructions": data.view.pairs(*map(np.asarray, pairs)),
            },
        )

    return Observer(every, observe)


DISTANCE = "samples/frechet"


def distance_observer(
    model: LatentModel, data: Any, settings: Evaluation, every: int
) -> Observer:
    """The Frechet distance of ``settings.selection_samples`` samples, from the same
    noise each time, to the images of ``settings.selection_split``. An evaluation draws
    other samples, whatever its seed."""
    num, key = settings.selection_samples, stream(SEED, Use.SELECTION)
    extract = settings.require_extractor()
    sample = sampling.sample_fn(
        model,
        settings.batch_size,
        temperature=settings.temperature,
        batch_statistics=settings.batch_statistics,
    )
    reference = functools.cache(
        lambda: settings.selection_statistics(data).sampled.moments
    )

    @where_finite
    def observe(state: TrainState) -> Observation:
        drawn = sampling.batches(sample, *_variables(state), num, key)
        fake = moments(extract(batch.images) for batch in drawn)
        return Observation(scalars={DISTANCE: frechet(fake, reference())})

    return Observer(every, observe)

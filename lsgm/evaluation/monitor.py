"""What is looked at while a stage trains: the held-out bound, and samples."""

from typing import Any

import jax
import numpy as np

from lsgm.evaluation import plots
from lsgm.evaluation.bound import bits_per_dim, bound_fn, estimate_bound
from lsgm.evaluation.settings import Evaluation
from lsgm.model import LatentModel
from lsgm.training.observe import Observation, Observer
from lsgm.training.state import TrainState


def bound_observer(
    model: LatentModel, data: Any, settings: Evaluation, every: int
) -> Observer:
    """The bound's terms on held-out examples, in nats; the same examples and the
    same draws each time, so that a curve shows the model and not the dice."""
    terms = bound_fn(model)

    def observe(state: TrainState) -> Observation:
        batches = data.eval_batches(
            settings.monitor_split, settings.batch_size, settings.monitor_examples
        )
        estimates = estimate_bound(
            terms, state.averaged, state.mutables, batches, jax.random.key(0)
        )
        scalars = {f"held_out/{k}": e.mean for k, e in estimates.items()}
        if not model.vae.likelihood.density:
            scalars["held_out/bits_per_dim"] = bits_per_dim(
                estimates["nelbo"].mean, model.vae.image_shape
            )
        return Observation(scalars=scalars)

    return Observer(every, observe)


def sample_observer(
    model: LatentModel, data: Any, settings: Evaluation, every: int
) -> Observer:
    """Samples from the same noise each time, reconstructions, and their calls."""
    num = settings.monitor_samples

    @jax.jit
    def draw(params: Any, mutables: Any) -> Any:
        generated = model.sample(
            params,
            mutables,
            jax.random.key(1),
            num,
            temperature=settings.temperature,
            batch_statistics=settings.batch_statistics,
        )
        return generated.images, generated.nfe

    @jax.jit
    def reconstruct(params: Any, mutables: Any, levels: Any) -> Any:
        x = model.vae.preprocess(levels)
        return model.reconstruct(params, mutables, jax.random.key(2), x)

    def observe(state: TrainState) -> Observation:
        images, nfe = draw(state.averaged, state.mutables)
        batch = next(
            iter(data.eval_batches(settings.monitor_split, num // 2, num // 2))
        )
        levels = np.asarray(batch["image"])
        decoded = reconstruct(state.averaged, state.mutables, levels)
        real = (levels / model.vae.likelihood.max_level).astype(np.float32)
        return Observation(
            scalars={"samples/nfe": float(nfe)},
            pictures={
                "samples": plots.grid(np.asarray(images)),
                "reconstructions": plots.pairs(real, np.asarray(decoded)),
            },
        )

    return Observer(every, observe)

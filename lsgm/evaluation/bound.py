"""The bound on held-out data, term by term, with standard errors."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsgm import elbo
from lsgm.model import LatentModel
from lsgm.typing import Array, Params, PRNGKey

TERMS = ("reconstruction", "neg_entropy", "cross_entropy", "nelbo")


class Estimate(NamedTuple):
    """A mean over examples and its standard error, in nats per image."""

    mean: float
    standard_error: float


def bound_fn(model: LatentModel) -> Callable[..., dict[str, Array]]:
    """Compiled ``(params, mutables, levels, key) -> terms``, each [b] in nats."""

    @jax.jit
    def terms(
        params: Params, mutables: Params, levels: Array, key: PRNGKey
    ) -> dict[str, Array]:
        x = model.vae.preprocess(levels)
        draws = elbo.draw(model, key, x.shape[0])
        bound = elbo.bound(model, params, mutables, x, draws)
        return {name: getattr(bound, name) for name in TERMS}

    return terms


def estimate_bound(
    terms: Callable[..., dict[str, Array]],
    params: Params,
    mutables: Params,
    batches: Iterable[Any],
    key: PRNGKey,
    num_draws: int = 1,
) -> dict[str, Estimate]:
    """Mean of each term over all examples, with the standard error of the mean.

    Args:
      terms: what ``bound_fn`` returns.
      batches: evaluation batches with ``image`` levels and a ``mask`` that is
        False where a short last batch was filled up.
      num_draws: independent draws per example, averaged before the error is
        taken over examples.

    Returns:
      By term name, in nats per image.
    """
    values: dict[str, list[np.ndarray]] = {name: [] for name in TERMS}
    for index, batch in enumerate(batches):
        mask = np.asarray(batch["mask"])
        batch_key = jax.random.fold_in(key, index)
        draws = [
            terms(
                params,
                mutables,
                jnp.asarray(batch["image"]),
                jax.random.fold_in(batch_key, i),
            )
            for i in range(num_draws)
        ]
        for name in TERMS:
            mean = np.mean([np.asarray(d[name], np.float64) for d in draws], axis=0)
            values[name].append(mean[mask])
    return {name: estimate_mean(np.concatenate(v)) for name, v in values.items()}


def bits_per_dim(nats: float, image_shape: tuple[int, ...]) -> float:
    """Nats per image to bits per dimension of an image of ``image_shape``."""
    return nats / (math.prod(image_shape) * math.log(2))


def estimate_mean(values: np.ndarray) -> Estimate:
    """Mean over examples [n], with its standard error."""
    spread = values.std(ddof=1) if values.size > 1 else math.nan
    return Estimate(float(values.mean()), float(spread / math.sqrt(values.size)))

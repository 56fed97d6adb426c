"""The bound on held-out data, term by term, with standard errors."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from lsgm import elbo
from lsgm.model import LatentModel
from lsgm.typing import Array, Batch, Params, PRNGKey

TERMS = ("reconstruction", "neg_entropy", "cross_entropy", "nelbo")
WITHOUT_BOUND = ("reconstruction",)


class Estimate(NamedTuple):
    """A mean over examples and its standard error, in nats per image."""

    mean: float
    standard_error: float


def bound_fn(
    model: LatentModel, beside: Mapping[str, LatentModel] | None = None
) -> Callable[..., dict[str, Array]]:
    """Compiled ``(params, mutables, batch, key) -> terms``, each [b] in nats: all
    terms of the bound, or where the prior has none the reconstruction.

    Args:
      beside: models with the same VAE, whose negative ELBO on the same draws of
        latents is added under their names.
    """

    @jax.jit
    def terms(
        params: Params, mutables: Params, batch: Batch, key: PRNGKey
    ) -> dict[str, Array]:
        x = model.vae.preprocess(batch)

        def bound(model: LatentModel) -> elbo.Bound:
            # The same draws for all: the same key, on purpose.
            draws = elbo.draw(model, jax.random.clone(key), x.shape[0])
            return elbo.bound(
                model, params, mutables, x, draws, cond=batch.get("label")
            )

        own, names = bound(model), TERMS if model.prior.has_bound else WITHOUT_BOUND
        others: dict[str, Any] = {
            name: bound(m).nelbo for name, m in (beside or {}).items()
        }
        return {name: getattr(own, name) for name in names} | others

    return terms


def estimate_bound(
    terms: Callable[..., dict[str, Array]],
    params: Params,
    mutables: Params,
    batches: Iterable[Any],
    key: PRNGKey,
    num_draws: int = 1,
) -> dict[str, Estimate]:
    """Mean of each term over all examples, with the standard error of the mean; see
    ``example_values``."""
    values = example_values(terms, params, mutables, batches, key, num_draws)
    return {name: estimate_mean(v) for name, v in values.items()}


def example_values(
    terms: Callable[..., dict[str, Array]],
    params: Params,
    mutables: Params,
    batches: Iterable[Any],
    key: PRNGKey,
    num_draws: int = 1,
) -> dict[str, np.ndarray]:
    """Each term of every example, in nats, [n] by name.

    Args:
      terms: what ``bound_fn`` returns.
      batches: evaluation batches with a ``mask`` that is
        False where a short last batch was filled up.
      num_draws: independent draws per example, over which the value is the mean.
    """
    parts: list[dict[str, np.ndarray]] = []
    for index, batch in enumerate(batches):
        mask = np.asarray(batch["mask"])
        batch_key = jax.random.fold_in(key, index)
        draws = [
            terms(params, mutables, batch, jax.random.fold_in(batch_key, i))
            for i in range(num_draws)
        ]
        mean = jax.tree.map(
            lambda *d: np.mean([np.asarray(v, np.float64) for v in d], axis=0), *draws
        )
        parts.append({name: value[mask] for name, value in mean.items()})
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def bits_per_dim(nats: float, image_shape: tuple[int, ...]) -> float:
    """Nats per image to bits per dimension of an image of ``image_shape``."""
    return nats / (math.prod(image_shape) * math.log(2))


def estimate_mean(values: np.ndarray) -> Estimate:
    """Mean over examples [n], with its standard error."""
    spread = values.std(ddof=1) if values.size > 1 else math.nan
    return Estimate(float(values.mean()), float(spread / math.sqrt(values.size)))

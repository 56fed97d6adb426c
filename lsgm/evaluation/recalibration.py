r"""Statistics of the decoder's batch normalisation for generated latents.

Training averages activations over latents that the encoder proposes. Those that the
prior generates differ a little, through every layer. Here they are generated once,
and each layer's mean and variance over all of them replace the running ones:

    mean = E_k[mean_k],   var = E_k[var_k] + Var_k[mean_k],                (1)

over batches k, each passed with its own statistics. Samples then depend neither on
the batch that they are drawn in nor on how many devices share it, unlike with batch
statistics at sampling time. Bounds and reconstructions decode the encoder's latents
and keep the running statistics of training.
"""

from typing import Any

import jax
import numpy as np

from lsgm.model import LatentModel
from lsgm.networks.norm import BATCH_STATS
from lsgm.streams import Use, stream
from lsgm.typing import Params, PRNGKey


def recalibrate(
    model: LatentModel,
    params: Params,
    mutables: Params,
    *,
    num_batches: int,
    batch_size: int,
    seed: int,
    temperature: float = 1.0,
) -> Params:
    """Mutables to sample with: the decoder's statistics from Eq. (1).

    Args:
      num_batches, batch_size: how many latents to generate; the batch is large
        enough where its own statistics are steady. No batches change nothing.
      temperature: that of the samples to come.
    """

    if not num_batches:
        return mutables

    @jax.jit
    def statistics(params: Params, mutables: Params, key: PRNGKey) -> Params:
        prior_key, rest_key = jax.random.split(key)
        shape = (batch_size, *model.vae.prior_shape)
        drawn = model.prior.sample(
            params, mutables, prior_key, shape, temperature=temperature
        )
        rest = model.rest_latents(rest_key, batch_size, temperature)
        z = model.vae.merge(drawn.z0, rest)
        return model.vae.decoder_statistics(params["vae"], mutables["vae"], z)

    keys = jax.random.split(stream(seed, Use.RECALIBRATION), num_batches)
    found = [jax.device_get(statistics(params, mutables, key)) for key in keys]
    pooled = jax.tree.map(_pool, *found, is_leaf=_is_layer)
    return {**mutables, "vae": {**mutables["vae"], BATCH_STATS: pooled}}


def _is_layer(tree: Any) -> bool:
    return isinstance(tree, dict) and tree.keys() == {"mean", "var"}


def _pool(*layers: dict[str, np.ndarray]) -> dict[str, Any]:
    """Eq. (1) for one layer."""
    means, variances = (
        np.stack([np.asarray(layer[name], np.float64) for layer in layers])
        for name in ("mean", "var")
    )
    pooled = {"mean": means.mean(0), "var": variances.mean(0) + means.var(0)}
    return {name: value.astype(np.float32) for name, value in pooled.items()}

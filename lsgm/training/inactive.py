r"""Latent channels that say nothing: found when a stage starts, left to N(0, I).

Per channel c of z0, with the VAE in evaluation mode,

    KL_c = mean over images of sum over positions (log q(z|x) - log N(z; 0, I)),  (1)

from one sample per image. Channels with KL_c above a threshold are active. The
others are hidden from the prior's network and start with a mixing logit at which it
has no say, so that the prior is N(0, I) there. The mask is part of the state, so a
resumed run and a checkpoint's reader have it too.

Source: LSGM, arXiv 2106.05931, its published training.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lsgm import numerics, streams
from lsgm.data.pipeline import TrainBatches
from lsgm.priors import normal
from lsgm.streams import Use
from lsgm.training.parallel import AXIS, pmap_update, replicate, split_over_devices
from lsgm.training.stage import Stage
from lsgm.training.state import TrainState
from lsgm.typing import Array, Batch, Float, Params, PRNGKey
from lsgm.vae import VAE, Encoded

# Batches that Eq. (1) is averaged over, at most; never more than an epoch.
MAX_BATCHES = 1000


def drop(
    state: TrainState, stage: Stage, vae: VAE, batches: TrainBatches
) -> TrainState:
    """The state without the channels whose KL over the first batches of training
    does not exceed ``stage.drop_inactive`` nats; None drops nothing."""
    if stage.drop_inactive is None:
        return state
    key = streams.fold(state.key, Use.INACTIVE_CHANNELS)
    kl = mean_channel_kl(vae, state.params["vae"], state.mutables["vae"], key, batches)
    active = (kl > stage.drop_inactive).astype(kl.dtype)
    prior: Any = stage.prior  # One that drops channels: the stage sees to that.
    params, mutables = prior.drop_channels(state.params, state.mutables, active)
    ema = {group: stage.ema.init(params[group]) for group in state.ema}
    return state.replace(params=params, ema=ema, mutables=mutables)


def channel_kl(encoded: Encoded) -> Float[Array, " c"]:
    """Eq. (1) over the images of one pass, in nats."""
    kl = encoded.log_q + normal.neg_log_prob(encoded.z0)
    return jnp.mean(jnp.sum(kl, axis=(1, 2)), axis=0)


class _Sum(NamedTuple):
    params: Params
    mutables: Params
    key: PRNGKey
    count: Any
    total: Any


def mean_channel_kl(
    vae: VAE, params: Params, mutables: Params, key: PRNGKey, batches: TrainBatches
) -> Float[Array, " c"]:
    """Eq. (1) over the first batches of training, on all devices and hosts."""

    def add(so_far: _Sum, batch: Batch) -> tuple[_Sum, tuple[()]]:
        x = vae.preprocess(batch)
        indices = numerics.example_indices(x.shape[0], AXIS)
        batch_key = jax.random.fold_in(so_far.key, so_far.count)
        noise = vae.draw(numerics.example_keys(batch_key, indices))
        encoded = vae.encode(so_far.params, so_far.mutables, x, noise)
        kl = jax.lax.pmean(channel_kl(encoded), AXIS)
        count, total = so_far.count + 1, so_far.total + kl
        return so_far._replace(count=count, total=total), ()

    update = pmap_update(add)
    start = _Sum(
        params, mutables, key, jnp.zeros((), jnp.int32), jnp.zeros(vae.prior_shape[-1:])
    )
    # The mapped function consumes its buffers; the caller's stay.
    so_far = replicate(jax.tree.map(jnp.copy, start))
    num = min(batches.steps_per_epoch, MAX_BATCHES)
    for k in range(num):
        so_far, _ = update(so_far, split_over_devices(batches.batch(k)))
    return jnp.asarray(jax.device_get(so_far.total)) / num

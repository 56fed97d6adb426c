"""What a training step costs, from XLA's count on the lowered program."""

import jax
import jax.numpy as jnp

from lsgm.launch import initial_state, mapped_update
from lsgm.training.stage import Stage
from lsgm.vae import VAE


def step_flop(stage: Stage, vae: VAE, batch_size: int) -> float:
    """Floating-point operations of one update of ``stage`` on ``batch_size`` images,
    over all devices. Nothing is compiled or computed."""
    state = jax.eval_shape(
        lambda key: initial_state(stage, vae, key), jax.random.key(0)
    )
    devices = jax.local_device_count()
    shape = (devices, batch_size // devices, *vae.image_shape)
    levels = jax.ShapeDtypeStruct(shape, jnp.uint8)
    cost = mapped_update(stage, vae).lower(state, levels).cost_analysis()
    return devices * float(cost["flops"])

"""What a training step costs, by XLA's own count.

On the lowered step in seconds to minutes; on the compiled one, with the memory that XLA
plans for it, in as long as compiling takes, and for this machine's devices.
"""

from typing import Any, NamedTuple

import jax

from lsgm.planning.peak import step_peak
from lsgm.runs.train import mapped_update
from lsgm.training.packing import pack_state
from lsgm.training.stage import Stage
from lsgm.vae import VAE


class Compiled(NamedTuple):
    """What is known of an update once it is compiled.

    Attributes:
      images: on one device.
      flop: floating-point operations of one device, by XLA's analysis.
      bytes: of arguments and temporaries on one device, by XLA's analysis; the new
        state overwrites the old one.
      peak: bytes on one device, measured; None where nothing was.
    """

    images: int
    flop: float
    bytes: int
    peak: float | None


def step_flop(stage: Stage, vae: VAE, state: Any, batch_size: int) -> float:
    """Floating-point operations of one update of ``stage`` on ``batch_size`` images,
    over all devices. Nothing is compiled or computed.

    Args:
      state: from ``lsgm.planning.memory.abstract_state``.
    """
    flop = _flop(_lowered(stage, vae, state, batch_size))
    # They keep the trace, half a gigabyte for a large model.
    jax.clear_caches()
    return flop


def compiled_step(
    stage: Stage, vae: VAE, state: Any, batch_size: int, *, measure: bool
) -> Compiled:
    """Compile the update that ``step_flop`` counts, and ask XLA.

    Args:
      batch_size: images on one device, of which all figures are, however many
        devices there are here.
      measure: run it as well (``lsgm.planning.peak``).
    """
    devices = jax.local_device_count()
    step = _lowered(stage, vae, state, devices * batch_size).compile()
    held = step.memory_analysis()
    num_bytes = held.argument_size_in_bytes + held.temp_size_in_bytes
    peak = step_peak(step, stage, vae, batch_size) if measure else None
    return Compiled(batch_size, _flop(step) / devices, num_bytes, peak)


def _lowered(stage: Stage, vae: VAE, state: Any, batch_size: int) -> Any:
    devices = jax.local_device_count()
    batch = {
        name: jax.ShapeDtypeStruct((devices, *one.shape), one.dtype)
        for name, one in vae.abstract_batch(batch_size // devices).items()
    }
    packed = jax.eval_shape(pack_state, state)
    return mapped_update(stage, vae).lower(packed, batch)


def _flop(step: Any) -> float:
    return jax.local_device_count() * float(step.cost_analysis()["flops"])

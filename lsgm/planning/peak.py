"""The memory that a compiled step is seen to take on this machine's CPUs.

What Linux counts as the process's resident memory holds compilers and libraries too,
a hundred times what a small step needs. So the high-water mark is set back when they
rest, one step runs, and what it adds is the step's own.
"""

import contextlib
import ctypes
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp

from lsgm.planning.memory import num_bytes
from lsgm.runs.train import initial_state
from lsgm.training.packing import pack_state
from lsgm.training.parallel import replicate
from lsgm.training.stage import Stage
from lsgm.vae import VAE

SETTLING_STEPS, MEASURED_STEPS = 2, 3


def step_peak(step: Any, stage: Stage, vae: VAE, batch_size: int) -> float | None:
    """Bytes on one device: the state's, and what the process grows by during an
    update.

    Args:
      step: compiled for ``batch_size`` images on each device; runs five times. The
        first two are not measured, for threads keep what they took for them; of the
        others the least counts, for what else the process does only adds.

    Returns:
      None where the system does not count.
    """
    state = replicate(pack_state(initial_state(stage, vae, jax.random.key(0))))
    held = num_bytes(jax.tree.map(lambda leaf: leaf.addressable_data(0), state))
    devices = jax.local_device_count()
    batch = {
        name: jnp.zeros((devices, *one.shape), one.dtype)
        for name, one in vae.abstract_batch(batch_size).items()
    }
    growths = []
    for _ in range(SETTLING_STEPS + MEASURED_STEPS):
        _return_free_memory()
        if not reset_peak():
            return None
        before = _counted("VmRSS")
        state, _ = jax.block_until_ready(step(state, batch))
        after = peak_bytes()
        if before is None or after is None:
            return None
        growths.append(after - before)
    return held + min(growths[SETTLING_STEPS:]) / devices


def reset_peak() -> bool:
    """Set the process's high-water mark to what it holds now, where Linux allows."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        return True
    return False


def peak_bytes() -> int | None:
    """The process's high-water mark, where Linux keeps it."""
    return _counted("VmHWM")


def _counted(name: str) -> int | None:
    with contextlib.suppress(OSError):
        status = pathlib.Path("/proc/self/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else None
    return None


def _return_free_memory() -> None:
    """What was freed but is still held would be taken again unseen."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)

"""The memory that a step takes, as the system counts it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.planning import memory, peak
from lsgm.runs import experiment
from lsgm.runs.train import mapped_update
from tests import tiny

BLOCK = 300_000_000


def test_peak_is_reset_and_seen():
    if not peak.reset_peak():
        pytest.skip("no /proc here")
    before = peak.peak_bytes()
    # So large that what other threads give back meanwhile is little beside it.
    block = np.ones(BLOCK, np.uint8)
    during = peak.peak_bytes()
    assert block.sum() == BLOCK
    assert 0.7 * BLOCK < during - before < 1.3 * BLOCK
    del block
    peak.reset_peak()
    assert peak.peak_bytes() < during - 0.7 * BLOCK


# Other work on the machine moves what is measured.
@pytest.mark.slow
def test_what_a_step_takes_and_gives_back_counts():
    """A step that holds a large array while it runs, and keeps nothing of it."""
    made = experiment.described(tiny.config())
    stage = made.stages["vae"]
    update = mapped_update(stage, made.vae)
    side = 5000

    @jax.jit
    def greedy(state, batch):
        state, metrics = update(state, batch)
        large = jnp.sin(jnp.arange(side * side, dtype=jnp.float32)).reshape(side, side)
        return state, {**metrics, "sum": jax.lax.sort(large).sum()}

    found = peak.step_peak(greedy, stage, made.vae, 4)
    if found is None:
        pytest.skip("no /proc here")
    state = memory.abstract_state(stage, made.vae)
    block = 4 * side * side
    assert 0.9 * block < found - memory.memory(stage, made.vae, state).state
    assert found < 6 * block

"""The best state so far is kept, once, over restarts."""

import jax
import jax.numpy as jnp
import pytest

from lsgm.training import checkpoints
from lsgm.training import state as states
from lsgm.training.best import Best
from lsgm.training.checkpoints import Checkpoints

META = checkpoints.describe_run({}, "lsgm")


def _state(step):
    state = states.create(
        jax.random.key(0), {"vae": {"w": jnp.full((2,), float(step))}}, {}, {}, ()
    )
    return state.replace(step=jnp.asarray(step, state.step.dtype))


def _looked_at(folder, values):
    """A run that sees ``values`` by step; None: another scalar only."""
    with Checkpoints(folder) as kept:
        best = Best(kept, "distance", META)
        for step, value in values.items():
            best.look(
                _state(step), {"other": 0.0} if value is None else {"distance": value}
            )
    steps = checkpoints.list_steps(folder)
    return steps[-1] if steps else None


def test_the_least_stays(tmp_path):
    assert _looked_at(tmp_path, {1: 3.0, 2: None, 3: 1.0, 4: 2.0, 5: 1.0}) == 3
    meta = checkpoints.describe(tmp_path / "3")
    assert meta["chosen_by"] == {"distance": 1.0} and meta["stage"] == "lsgm"
    tree = checkpoints.read(tmp_path / "3", ("params",))
    assert float(tree["params"]["vae"]["w"][0]) == pytest.approx(3)


def test_a_restart_goes_on_choosing(tmp_path):
    """Killed after step 4, gone on from step 2: as if it had never been."""
    seen = {1: 3.0, 2: 2.5, 3: 1.0, 4: 2.0, 5: 1.5, 6: 0.5}
    _looked_at(tmp_path / "b", {k: seen[k] for k in (1, 2, 3, 4)})
    assert _looked_at(tmp_path / "b", {k: seen[k] for k in (3, 4, 5)}) == 3
    assert _looked_at(tmp_path / "b", {6: seen[6]}) == 6
    assert _looked_at(tmp_path / "a", seen) == 6


def test_what_is_not_finite_is_never_best(tmp_path):
    assert _looked_at(tmp_path, {1: float("nan"), 2: float("inf")}) is None

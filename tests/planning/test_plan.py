"""Prices of an experiment: exact where they are sums of shapes, lawful elsewhere."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from configs.benchmark import small
from lsgm.config import ConfigError
from lsgm.planning import memory
from lsgm.planning.devices import DEVICES, device
from lsgm.planning.memory import Memory
from lsgm.planning.plan import DAY, RESERVED, StageCost, plan
from lsgm.runs import experiment
from lsgm.runs.train import initial_state
from tests import tiny

HELD = Memory(
    parameters=400,
    averages=300,
    optimizer=800,
    statistics=100,
    gradients=400,
    activations_per_image=50.0,
)
COST = StageCost(
    name="lsgm",
    num_steps=1000,
    batch_size=64,
    image_bytes=3072,
    parameters={"vae": 60, "prior": 40},
    trained=("vae", "prior"),
    latents=("4x4x8",),
    flop_per_image=3e9,
    memory=HELD,
)
SMALL = dataclasses.replace(DEVICES["v100-32gb"], memory=4000.0, float32=1e12)


@pytest.fixture(scope="module")
def made():
    return experiment.described(tiny.config())


@pytest.mark.parametrize("name", ["vae", pytest.param("lsgm", marks=pytest.mark.slow)])
def test_state_has_the_bytes_that_are_allocated(made, name):
    stage = made.stages[name]
    state = jax.jit(lambda key: initial_state(stage, made.vae, key))(jax.random.key(0))
    found = memory.memory(stage, made.vae, memory.abstract_state(stage, made.vae))
    parts = (state.params, state.ema, state.opt, state.mutables)
    sizes = [sum(x.nbytes for x in jax.tree.leaves(part)) for part in parts]
    assert [
        found.parameters,
        found.averages,
        found.optimizer,
        found.statistics,
    ] == sizes
    assert found.state == sum(sizes)
    trained = {g: state.params[g] for g in stage.optimizers}
    assert found.gradients == memory.num_bytes(trained)


def test_residuals_are_those_of_a_known_function():
    """Of (w sin x)^2 the pullback to w holds sin x and 2 w sin x: two arrays of the
    batch, and w's own, which does not grow with it."""
    num = memory.IMAGES

    def pullback(w, x):
        return jax.vjp(lambda w: (w * jnp.sin(x)) ** 2, w)[1]

    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((num, 1), (num, 15))]
    found = memory.growing_bytes(jax.eval_shape(pullback, *shapes))
    assert found == 4 * num * (15 + 15)
    small = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((1, 1), (1, 15))]
    assert memory.growing_bytes(jax.eval_shape(pullback, *small)) == 0


def test_rematerialisation_keeps_less():
    config = small.get_config("smoke")
    found = []
    for remat in (False, True):
        config.vae.network.remat = remat
        made = experiment.described(config)
        stage = made.stages["vae"]
        state = memory.abstract_state(stage, made.vae)
        found.append(memory.residuals_per_image(stage, made.vae, state))
    assert found[1] < 0.7 * found[0]


def test_time_and_memory_are_their_equations():
    one = plan(COST, 16, SMALL, 0.25)
    assert one.images == 4 and one.bytes == 2000 + 4 * 50
    assert one.seconds == pytest.approx(3e9 * 4 / (0.25 * 1e12))
    assert one.days == pytest.approx(1000 * one.seconds / DAY)
    assert one.device_hours == pytest.approx(16 * 24 * one.days)
    assert one.images_per_second == pytest.approx(64 / one.seconds)
    # Twice the devices: half the time.
    assert plan(COST, 32, SMALL, 0.25).seconds == pytest.approx(one.seconds / 2)


def test_what_fits_is_what_is_advised():
    """As many images as the advice names fit, and one more does not."""
    tight = plan(COST, 1, SMALL, 0.25)
    room = (1 - RESERVED) * SMALL.memory
    most = HELD.fitting(room)
    assert HELD.total(most) <= room < HELD.total(most + 1)
    assert (
        not tight.fits and f"{most} images fit on a device: 2 devices" in tight.advice()
    )
    assert plan(COST, 2, SMALL, 0.25).fits
    none = plan(COST, 1, dataclasses.replace(SMALL, memory=1500.0), 0.25)
    assert not none.fits and "state and gradients alone" in none.advice()


def test_impossible_plans_are_refused():
    with pytest.raises(ConfigError, match=r"lsgm.batch_size = 64: .*devices, 5"):
        plan(COST, 5, SMALL, 0.25)
    with pytest.raises(ConfigError, match="did you mean 'v100-32gb'"):
        device("v100-32g")

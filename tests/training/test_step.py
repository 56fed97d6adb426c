"""The update: one loss per group, one result on any number of devices."""

import functools
from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from lsgm.elbo import ObjectiveDraws
from lsgm.objective import Aux, Objective
from lsgm.training import state as states
from lsgm.training.packing import pack_state
from lsgm.training.parallel import AXIS, pmap_update, replicate, split_over_devices
from lsgm.training.step import make_update
from tests import small
from tests.compiled import count_compilations

STAGES = {
    "joint": small.stage(),
    "disjoint": small.stage(disjoint=True, encoder_ema=True),
}
BY_MODE = pytest.mark.parametrize("mode", STAGES)


@functools.cache
def setting(mode):
    """Objective and state, with averages that are not the parameters."""
    objective = STAGES[mode].objective(small.vae())
    params, mutables = small.variables()
    stage = STAGES[mode]
    state = states.create(
        jax.random.key(1), params, mutables, optimizers(mode), stage.averaged
    )
    return objective, state.replace(ema=small.variables(seed=2)[0])


def optimizers(mode):
    return STAGES[mode].transformations()


def update_of(mode):
    return make_update(setting(mode)[0], optimizers(mode), STAGES[mode].ema, AXIS)


def on_devices(update, devices):
    """The update under shard_map with its replication check on: a mean over
    devices that was forgotten is refused when the function is traced."""
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:devices]), (AXIS,))
    mapped = jax.jit(
        jax.shard_map(
            update,
            mesh=mesh,
            in_specs=(P(), P(AXIS)),
            out_specs=(P(), P()),
        ),
        compiler_options=small.QUICK,
    )
    return small.on_trees(mapped)


@functools.cache
def mapped(mode, devices):
    return on_devices(update_of(mode), devices)


@functools.cache
def updated(mode, devices=1):
    """State and metrics after one update."""
    return mapped(mode, devices)(setting(mode)[1], small.batch())


def assert_close(ours, theirs, rtol, atol):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol),
        ours,
        theirs,
    )


@BY_MODE
def test_each_group_descends_its_own_loss_only(mode):
    """All gradients are taken at the parameters before the update, on one set of
    draws, with the averages of the state."""
    objective, state = setting(mode)
    x = objective.model.vae.preprocess(small.batch())

    def loss(group, part, key):
        params, draws = {**state.params, group: part}, objective.draw(key, 4)
        args = (params, state.mutables, x, draws, state.step, None)
        return objective(*args, averaged=state.ema)[0][group]

    new, _ = updated(mode)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.clone(state.key), 0), 0)
    for group in objective.groups:
        alone = jax.jit(
            jax.grad(functools.partial(loss, group)), compiler_options=small.QUICK
        )
        gradient = alone(state.params[group], jax.random.clone(key))
        expected = jax.tree.map(
            lambda p, g: p - small.RATE * g, state.params[group], gradient
        )
        noise = 1e-6 * float(optax.tree.norm(gradient))
        assert noise > 0
        assert_close(new.params[group], expected, 1e-5, noise)


class Quadratics(Objective):
    """Losses with gradients that anyone can take, of two numbers a and b:

        J_vae = (a - mean x)^2 / 2 + 3 a b,   J_prior = (b - 2 a)^2 / 2.

    Each depends on the other group's number too, which it may not move.
    """

    alternating = False

    @property
    def phases(self):
        return (("vae",), ("prior",)) if self.alternating else (("vae", "prior"),)

    def draw(self, key, num, axis=None):
        return ObjectiveDraws(noise=(), prior=None, dropout=None)

    def __call__(self, params, mutables, x, draws, step, axis=None, *others):
        a, b = params["vae"]["a"], params["prior"]["b"]
        losses = {
            "vae": 0.5 * (a - jnp.mean(x)) ** 2 + 3 * a * b,
            "prior": 0.5 * (b - 2 * a) ** 2,
        }
        return losses, Aux({}, mutables)


class Alternating(Quadratics):
    alternating = True


@pytest.mark.parametrize(
    ("kind", "b"),
    [
        # One image of four is white, the others black: mean x = -1/2.
        # a: 1 - 0.01 (1 + 1/2 + 6) = 0.925; b: 2 - 0.01 (2 - 2) = 2.
        (Quadratics, 2.0),
        # The second player sees a = 0.925: b = 2 - 0.01 (2 - 1.85) = 1.9985.
        (Alternating, 1.9985),
    ],
)
def test_updates_are_those_of_hand_made_gradients(kind, b):
    state, update = with_objective(kind)
    levels = small.batch()["levels"] * 0
    new, metrics = update(state, {"levels": levels.at[0].set(1)})
    assert metrics["skipped"] == 0
    assert new.params["vae"]["a"] == pytest.approx(0.925, rel=1e-6)
    assert new.params["prior"]["b"] == pytest.approx(b, rel=1e-6)


def with_objective(kind, averaged=(), optimizer=None):
    """A state with the numbers a = 1 and b = 2, and the update of an objective of
    them, compiled."""
    optimizer = optimizer or small.Descent()
    stage = small.stage(optimizers={"vae": optimizer, "prior": optimizer})
    built = stage.objective(small.vae())
    objective = kind(**{f.name: getattr(built, f.name) for f in fields(built)})
    params = {"vae": {"a": jnp.float32(1.0)}, "prior": {"b": jnp.float32(2.0)}}
    optimizers = stage.transformations()
    state = states.create(jax.random.key(1), params, {}, optimizers, averaged)
    return state, on_devices(make_update(objective, optimizers, stage.ema, AXIS), 1)


class Noisy(Alternating):
    """Every player moves by its draw: J = number drawn x its parameter."""

    def draw(self, key, num, axis=None):
        noise = jax.random.normal(key, ())
        return ObjectiveDraws(noise=(noise,), prior=None, dropout=None)

    def __call__(self, params, mutables, x, draws, step, axis=None, *others):
        moved = {"vae": params["vae"]["a"], "prior": params["prior"]["b"]}
        noise = jax.lax.pcast(draws.noise[0], AXIS, to="varying")
        return {g: noise * p for g, p in moved.items()}, Aux({}, mutables)


def test_every_step_and_phase_has_noise_of_its_own():
    """And it is a function of the root key and the step: a later state with the same
    numbers draws the same."""
    state, update = with_objective(Noisy)
    key, drawn = state.key, []
    for step in range(3):
        new, _ = update(state, small.batch())
        moves = [
            float((old - now) / small.RATE)
            for old, now in zip(
                jax.tree.leaves(state.params), jax.tree.leaves(new.params), strict=True
            )
        ]
        drawn += moves[::-1]  # of a and b, which are the leaves b and a
        for phase in range(2):
            folded = jax.random.fold_in(jax.random.clone(key), step)
            expected = jax.random.normal(jax.random.fold_in(folded, phase), ())
            assert drawn[2 * step + phase] == pytest.approx(float(expected), abs=1e-4)
        state = new
    assert len(np.unique(np.round(drawn, 3))) == 6


def test_averages_follow_the_parameters_after_the_update():
    """Of the first update they are copies; then 0.9 of what was, 0.1 of what is."""
    state, update = with_objective(Quadratics, averaged=("vae", "prior"))
    batch = small.batch()
    first, _ = update(state, batch)
    jax.tree.map(np.testing.assert_array_equal, first.ema, first.params)
    second, _ = update(first, batch)
    assert_close(
        second.ema,
        jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, first.ema, second.params),
        rtol=1e-6,
        atol=0,
    )
    jax.tree.map(lambda a, p: np.testing.assert_(a != p), second.ema, first.params)
    averaged = {**second.params, **second.ema}
    jax.tree.map(np.testing.assert_array_equal, second.averaged, averaged)


class Momentum:
    """Descent along the gradient plus half of the direction before."""

    def build(self):
        return optax.sgd(small.RATE, momentum=0.5)


def test_optimizers_carry_their_state():
    """Three updates by hand."""
    state, update = with_objective(Quadratics, optimizer=Momentum())
    levels = small.batch()["levels"] * 0
    a, b, before = 1.0, 2.0, {"a": 0.0, "b": 0.0}
    for _ in range(3):
        state, _ = update(state, {"levels": levels.at[0].set(1)})
        direction = {"a": a + 0.5 + 3 * b, "b": b - 2 * a}
        before = {name: direction[name] + 0.5 * before[name] for name in direction}
        a, b = a - small.RATE * before["a"], b - small.RATE * before["b"]
        assert state.params["vae"]["a"] == pytest.approx(a, rel=1e-6)
        assert state.params["prior"]["b"] == pytest.approx(b, rel=1e-6)


@pytest.mark.multidevice
@BY_MODE
def test_two_devices_equal_one(mode):
    one, metrics_one = updated(mode)
    two, metrics_two = updated(mode, devices=2)
    for name, value in metrics_one.items():
        np.testing.assert_allclose(metrics_two[name], value, rtol=2e-4, err_msg=name)
    for name in ("params", "ema", "mutables"):
        assert_close(getattr(two, name), getattr(one, name), 1e-3, 1e-5)


@pytest.mark.multidevice
def test_pmap_equals_shard_map():
    batch = split_over_devices(jax.tree.map(np.asarray, small.batch()))
    update = small.on_trees(pmap_update(update_of("joint")))
    found, metrics = update(setting("joint")[1], batch)
    expected, metrics_expected = updated("joint")
    for name, value in metrics_expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=2e-4, err_msg=name)
    assert_close(found.params, expected.params, 1e-3, 1e-5)


@pytest.mark.multidevice
def test_only_the_first_step_compiles():
    """Placed as training places it, a state comes back in the form it went in."""
    state = replicate(pack_state(setting("joint")[1]))
    batch = split_over_devices(jax.tree.map(np.asarray, small.batch()))
    update, counts = pmap_update(update_of("joint")), []
    for _ in range(3):
        with count_compilations() as compiled:
            state, _ = update(state, batch)
        counts.append(len(compiled))
    assert counts == [1, 0, 0]


@pytest.mark.multidevice
def test_replication_check_refuses_a_forgotten_mean():
    def forgetful(state, x):
        return state + jnp.mean(x)

    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:2]), (AXIS,))
    with pytest.raises(ValueError, match="out_specs"):
        jax.jit(
            jax.shard_map(forgetful, mesh=mesh, in_specs=(P(), P(AXIS)), out_specs=P())
        )(jnp.zeros(()), jnp.arange(4.0))


def test_non_finite_update_is_skipped_and_counted():
    _, state = setting("joint")
    bias = {"prior": jax.tree.map(lambda p: p * jnp.nan, state.params["prior"])}
    poisoned = state.replace(params={**state.params, **bias})
    new, metrics = mapped("joint", 1)(poisoned, small.batch())
    assert metrics["skipped"] == 1
    assert new.step == state.step + 1
    jax.tree.map(np.testing.assert_array_equal, new.params["vae"], state.params["vae"])
    jax.tree.map(np.testing.assert_array_equal, new.opt, state.opt)
    jax.tree.map(np.testing.assert_array_equal, new.mutables, state.mutables)


class Spoiling:
    """An optimiser whose update of a finite gradient is not what it should be."""

    def __init__(self, update):
        self.update = update

    def build(self):
        def update(grads, state, params=None):
            return jax.tree.map(lambda g: jnp.full_like(g, self.update), grads), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, 1e38])
def test_update_that_spoils_finite_parameters_is_skipped(value):
    """Losses and gradients are finite; 1e38 is too, but would spoil the average."""
    stage = small.stage(optimizers={"vae": small.Descent(), "prior": Spoiling(value)})
    state = setting("joint")[1]
    update = make_update(
        stage.objective(small.vae()), stage.transformations(), stage.ema, AXIS
    )
    new, metrics = on_devices(update, 1)(state, small.batch())
    assert metrics["skipped"] == 1 and new.step == state.step + 1
    assert metrics["spoiled_prior"] == 1 and metrics["spoiled_vae"] == 0
    for name in ("params", "ema", "opt", "mutables"):
        jax.tree.map(
            np.testing.assert_array_equal, getattr(new, name), getattr(state, name)
        )


def test_as_published_all_but_the_vae_is_averaged():
    stage = small.stage(reference_compatible=True)
    optimizers, objective = stage.transformations(), stage.objective(small.vae())
    state = states.create(
        jax.random.key(1), *small.variables(), optimizers, stage.averaged
    )
    update = make_update(objective, optimizers, stage.ema, AXIS)
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]), (AXIS,))
    mapped = jax.shard_map(update, mesh=mesh, in_specs=(P(), P(AXIS)), out_specs=P())
    new, _ = jax.eval_shape(mapped, pack_state(state), small.batch())
    assert set(new.opt) == {"vae", "prior"}
    assert set(new.ema) == {"prior"}
    assert state.averaged["vae"] is state.params["vae"]

"""The update: one loss per group, one result on any number of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from lsgm import elbo, experiment
from lsgm.training import state as states
from lsgm.training.parallel import AXIS, pmap_update, split_over_devices
from lsgm.training.step import group_gradients, make_update
from tests import tiny


@functools.cache
def setting(stage: str = "lsgm"):
    """Objective, optimisers, state and one batch of the tiny experiment."""
    made = experiment.from_config(tiny.config())
    spec = made.stages[stage]
    objective = spec.objective(made.vae)
    # Plain descent: Adam turns the rounding of gradients that are zero (biases in
    # front of a batch norm) into full steps.
    optimizers = {g: optax.sgd(1e-3) for g in spec.optimizers}
    params, mutables = jax.jit(objective.init)(jax.random.key(0))
    params = jax.tree.map(lambda p: p + 0.01, params)
    state = states.create(jax.random.key(1), params, mutables, optimizers)
    levels = made.data.train_batches(0, 4).batch(0)["image"]
    return objective, optimizers, spec.ema, state, jnp.asarray(levels)


def test_each_group_descends_its_own_loss_only():
    objective, _, _, state, levels = setting()
    x = objective.model.vae.preprocess(levels)
    draws = elbo.draw(objective.model, jax.random.key(2), 4)
    losses, grads, _ = jax.jit(
        lambda s: group_gradients(objective, s, objective.groups, x, draws, None)
    )(state)

    def loss_of(group, part):
        params = {**state.params, group: part}
        return objective(params, state.mutables, x, draws, state.step)[0][group]

    for group in objective.groups:
        alone = jax.jit(jax.grad(functools.partial(loss_of, group)))
        expected = alone(state.params[group])
        assert jnp.isfinite(losses[group])
        noise = 1e-6 * float(optax.tree.norm(expected))
        jax.tree.map(
            lambda a, b, noise=noise: np.testing.assert_allclose(
                a, b, rtol=1e-4, atol=noise
            ),
            grads[group],
            expected,
        )


def mapped(devices: int):
    """The update under shard_map with its replication check on: a mean over
    devices that was forgotten is refused when the function is traced."""
    objective, optimizers, ema, _, _ = setting()
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:devices]), (AXIS,))
    return jax.jit(
        jax.shard_map(
            make_update(objective, optimizers, ema, AXIS),
            mesh=mesh,
            in_specs=(P(), P(AXIS)),
            out_specs=(P(), P()),
        )
    )


@pytest.mark.multidevice
def test_two_devices_equal_one_and_pmap_equals_shard_map():
    objective, optimizers, ema, state, levels = setting()
    one, metrics_one = mapped(1)(state, levels)
    two, metrics_two = mapped(2)(state, levels)
    update = pmap_update(make_update(objective, optimizers, ema, AXIS))
    copied = jax.tree.map(jnp.copy, state)
    three, metrics_three = update(copied, split_over_devices(np.asarray(levels)))
    for other, metrics in ((two, metrics_two), (three, metrics_three)):
        for name, value in metrics_one.items():
            np.testing.assert_allclose(metrics[name], value, rtol=2e-4, err_msg=name)
        for name in ("params", "ema", "mutables"):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
                getattr(other, name),
                getattr(one, name),
            )


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
    objective, optimizers, ema, state, levels = setting()
    poisoned = jax.tree.map(jnp.copy, state)
    bias = {"prior": jax.tree.map(lambda p: p * jnp.nan, state.params["prior"])}
    poisoned = poisoned.replace(params={**poisoned.params, **bias})
    update = mapped(1)
    new, metrics = update(poisoned, levels)
    assert metrics["skipped"] == 1
    assert new.step == state.step + 1
    jax.tree.map(np.testing.assert_array_equal, new.params["vae"], state.params["vae"])
    jax.tree.map(np.testing.assert_array_equal, new.opt, state.opt)

"""A prior's phases: who moves first, on which draws, and what is averaged."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.training import state as states
from lsgm.training.parallel import AXIS, pmap_update, split_over_devices
from lsgm.training.step import make_update
from tests import small
from tests.priors import boundless

GROUPS = ("generator", "critic")


def stage(prior, groups):
    optimizers = {group: small.Descent() for group in groups}
    return small.stage(prior=prior, optimizers=optimizers, regularization={})


ADVERSARIAL = stage(boundless.Adversarial(), GROUPS)


@functools.cache
def before():
    objective = ADVERSARIAL.objective(small.vae())
    params, mutables = objective.init(jax.random.key(0))
    critic = {"w": jnp.arange(8.0).reshape(2, 4) / 8}
    return states.create(
        jax.random.key(1),
        {**params, "critic": critic},
        mutables,
        ADVERSARIAL.transformations(),
        ADVERSARIAL.averaged,
    ).replace(step=jnp.int32(3))


@functools.cache
def after():
    update = make_update(
        ADVERSARIAL.objective(small.vae()),
        ADVERSARIAL.transformations(),
        ADVERSARIAL.ema,
        AXIS,
    )
    batch = {**small.batch(), "label": jnp.array([0, 1, 2, 7])}
    batch = split_over_devices(jax.tree.map(np.asarray, batch))
    return small.on_trees(pmap_update(update))(before(), batch)


@pytest.mark.parametrize(
    ("trained", "phases"),
    [
        (GROUPS, (("critic",), ("generator",))),
        (("generator",), (("generator",),)),
        (("critic",), (("critic",),)),
    ],
)
def test_phases_are_the_prior_s_restricted_to_what_is_trained(trained, phases):
    one = stage(boundless.Adversarial(), trained)
    assert one.objective(small.vae()).phases == phases


def test_vae_shares_the_prior_s_phase():
    (phase,) = small.stage().objective(small.vae()).phases
    assert set(phase) == {"vae", "prior"}


def test_the_second_player_meets_the_first_after_its_move():
    """By hand: w' = w - rate (w - d), then the generator against w', on new draws."""
    state, (new, _) = before(), after()
    objective = ADVERSARIAL.objective(small.vae())
    x = objective.model.vae.preprocess(small.batch())
    key = jax.random.fold_in(jax.random.clone(state.key), state.step)
    draws = [objective.draw(jax.random.fold_in(key, i), 4) for i in range(2)]

    def latents(noise):
        own = state.params["vae"], state.mutables["vae"]
        return objective.model.vae.encode(*own, x, noise).z0

    def fake(params, draw):
        return boundless.moments(boundless.generate(params, draw.prior))

    w = state.params["critic"]["w"]
    d = boundless.moments(latents(draws[0].noise)) - fake(state.params, draws[0])
    moved = w - small.RATE * (w - d)
    np.testing.assert_allclose(new.params["critic"]["w"], moved, rtol=1e-5)

    def loss(own):
        return -jnp.sum(moved * fake({"generator": own}, draws[1]))

    expected = jax.tree.map(
        lambda p, g: p - small.RATE * g,
        state.params["generator"],
        jax.grad(loss)(state.params["generator"]),
    )
    for name, value in expected.items():
        found = new.params["generator"][name]
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-7)


def test_averages_are_the_prior_s_choice():
    new, _ = after()
    assert ADVERSARIAL.averaged == ("generator",) == tuple(new.ema)


def test_the_prior_sees_the_step_and_the_labels():
    assert after()[1]["seen_step"] == 3
    assert after()[1]["seen_label"] == 2.5


def test_without_a_bound_nothing_counts_zero():
    """Neither terms of a bound nor a reconstruction that was not computed."""
    _, metrics = after()
    terms = {"reconstruction", "neg_entropy", "cross_entropy", "nelbo"}
    assert not terms & set(metrics)
    assert {"loss_critic", "loss_generator"} <= set(metrics)


def test_a_prior_without_a_bound_trains_no_vae():
    with pytest.raises(ValueError, match="no cross-entropy for the encoder"):
        stage(boundless.MomentMatching(), ("vae", "generator"))

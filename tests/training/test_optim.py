"""Optimisers, schedules and averages: closed forms of their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lsgm.training.optim import Adam, Adamax, Ema, EpochCosine, WarmupCosine

PARAMS = {"kernel": jnp.array([[2.0, -3.0]]), "bias": jnp.array([0.5])}
GRADS = {"kernel": jnp.array([[0.1, -4.0]]), "bias": jnp.array([0.3])}


def steps(optimizer, num=1, grads=GRADS):
    """Parameters after ``num`` updates with equal gradients."""
    transformation = optimizer.build()
    params, state = PARAMS, transformation.init(PARAMS)
    for _ in range(num):
        updates, state = transformation.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


def moved(params, name):
    return np.asarray(params[name] - PARAMS[name])


@pytest.mark.parametrize("kind", [Adam, Adamax])
def test_first_step_has_length_lr_whatever_the_gradient(kind):
    """Eqs. (1) and (2) at k = 1 without eps and decay."""
    params = steps(kind(lr=0.01, eps=1e-12))
    for name in PARAMS:
        expected = -0.01 * np.sign(GRADS[name])
        np.testing.assert_allclose(moved(params, name), expected, rtol=1e-4)


def test_eps_of_adamax_is_inside_the_maximum():
    """v = |g| + eps at k = 1; at k = 2, b2 v < |g| + eps, so v is the same."""
    params = steps(Adamax(lr=0.01, eps=0.2), num=2)
    g = np.asarray(GRADS["kernel"])
    np.testing.assert_allclose(
        moved(params, "kernel"), -2 * 0.01 * g / (np.abs(g) + 0.2), rtol=1e-4
    )


def test_eps_of_adam_is_outside_the_root():
    params = steps(Adam(lr=0.01, eps=0.2))
    g = np.asarray(GRADS["kernel"])
    np.testing.assert_allclose(
        moved(params, "kernel"), -0.01 * g / (np.abs(g) + 0.2), rtol=1e-4
    )


def test_decoupled_decay_shrinks_by_lr_times_decay():
    plain = steps(Adam(lr=0.01))
    decayed = steps(Adam(lr=0.01, weight_decay=0.5))
    np.testing.assert_allclose(
        decayed["kernel"] - plain["kernel"], -0.01 * 0.5 * PARAMS["kernel"], rtol=1e-4
    )


@pytest.mark.parametrize("kind", [Adam, Adamax])
def test_coupled_decay_is_part_of_the_gradient(kind):
    fields = dict(lr=0.01, eps=0.1)
    coupled = {"decoupled": False} if kind is Adam else {}
    decayed = steps(kind(weight_decay=0.5, **coupled, **fields))
    added = {**GRADS, "kernel": GRADS["kernel"] + 0.5 * PARAMS["kernel"]}
    expected = steps(kind(**fields), grads=added)
    np.testing.assert_allclose(decayed["kernel"], expected["kernel"], rtol=1e-6)


@pytest.mark.parametrize("decay_all", [False, True])
def test_parameters_with_one_axis_decay_only_when_all_do(decay_all):
    plain = steps(Adam(lr=0.01))
    decayed = steps(Adam(lr=0.01, weight_decay=0.5, decay_all=decay_all))
    gap = float(decayed["bias"][0] - plain["bias"][0])
    np.testing.assert_allclose(gap, -0.01 * 0.5 * 0.5 * decay_all, atol=1e-7)


@pytest.mark.parametrize("kind", [Adam, Adamax])
def test_clipping_scales_the_whole_gradient_before_decay(kind):
    """Clipped to length 1, then decay added, seen through the eps of both kinds."""
    coupled = {"decoupled": False} if kind is Adam else {}
    transformation = kind(
        lr=1.0, eps=0.5, clip_norm=1.0, weight_decay=0.5, decay_all=True, **coupled
    ).build()
    updates, _ = transformation.update(GRADS, transformation.init(PARAMS), PARAMS)
    length = np.sqrt(0.1**2 + 4.0**2 + 0.3**2)
    for name in PARAMS:
        g = np.asarray(GRADS[name]) / length + 0.5 * np.asarray(PARAMS[name])
        np.testing.assert_allclose(updates[name], -g / (np.abs(g) + 0.5), rtol=1e-4)


def test_short_gradients_are_not_clipped():
    fields = dict(lr=0.01, eps=0.1)
    np.testing.assert_array_equal(
        steps(Adam(clip_norm=1e3, **fields))["kernel"], steps(Adam(**fields))["kernel"]
    )


def test_optimizer_follows_its_schedule():
    schedule = WarmupCosine(peak=0.1, end=0.0, num_steps=10, warmup_steps=4)
    three = moved(steps(Adam(lr=schedule, eps=1e-12), num=3), "bias")
    np.testing.assert_allclose(three, -0.1 * (0 + 1 + 2) / 4, rtol=1e-3)


def rates(schedule, num):
    return np.asarray(jax.vmap(schedule)(jnp.arange(num)))


def test_warmup_rises_linearly_then_falls_as_a_cosine():
    """Eq. (3)."""
    schedule = WarmupCosine(peak=1.0, end=0.2, num_steps=14, warmup_steps=4)
    lr = rates(schedule, 20)
    np.testing.assert_allclose(lr[:5], [0, 0.25, 0.5, 0.75, 1.0], rtol=1e-6)
    np.testing.assert_allclose(lr[9], 0.6, rtol=1e-6)
    np.testing.assert_allclose(lr[14:], 0.2, rtol=1e-6)
    assert np.all(np.diff(lr[4:15]) < 0)
    # A cosine about its middle: lr(m + d) + lr(m - d) = peak + end.
    np.testing.assert_allclose(lr[4:15] + lr[4:15][::-1], 1.2, rtol=1e-6)


def test_equal_ends_are_a_constant_after_warmup():
    lr = rates(WarmupCosine(peak=0.3, end=0.3, num_steps=10, warmup_steps=2), 12)
    np.testing.assert_allclose(lr, [0, 0.15] + [0.3] * 10, rtol=1e-6)


def test_no_warmup_starts_at_the_peak():
    assert rates(WarmupCosine(peak=0.3, end=0.1, num_steps=5), 1) == np.float32(0.3)


def test_published_cosine_moves_once_an_epoch():
    schedule = EpochCosine(
        peak=1.0, end=0.1, num_epochs=8, steps_per_epoch=5, warmup_epochs=2
    )
    lr = rates(schedule, 45).reshape(-1, 5)
    np.testing.assert_allclose(lr[:2].ravel(), np.arange(10) / 10, rtol=1e-6)
    assert np.all(lr[2:] == lr[2:, :1])
    np.testing.assert_allclose(lr[2, 0], 0.9, rtol=1e-6)
    np.testing.assert_allclose(lr[7:], 0.1, rtol=1e-6)
    # The recursion of the published code, from one epoch to the next.
    turn = 1 + np.cos(np.pi * np.arange(6) / 5)
    np.testing.assert_allclose(
        (lr[3:8, 0] - 0.1) * turn[:-1], (lr[2:7, 0] - 0.1) * turn[1:], atol=1e-6
    )


def averages(ema, values):
    """The average after each of these values, from zero."""
    average, out = ema.init({"p": jnp.zeros(2)}), []
    for step, value in enumerate(values):
        average = ema.update({"p": jnp.full(2, value)}, average, jnp.int32(step))
        out.append(float(average["p"][0]))
    return out


def test_average_starts_as_a_copy_after_the_first_update():
    """Eq. (4)."""
    np.testing.assert_allclose(
        averages(Ema(decay=0.9), [3.0, 5.0, 5.0]), [3.0, 3.2, 3.38], rtol=1e-6
    )


def test_average_with_warmup_starts_fast():
    """Eq. (5): 2/11, 3/12, ... up to the decay."""
    first, second = averages(Ema(decay=0.999, warmup=True), [11.0, 12.0])
    np.testing.assert_allclose(first, 9.0, rtol=1e-6)
    np.testing.assert_allclose(second, 0.25 * 9 + 0.75 * 12, rtol=1e-6)
    capped = averages(Ema(decay=0.5, warmup=True), [1.0] * 30)
    np.testing.assert_allclose(np.diff(capped)[-3:], [0.0] * 3, atol=1e-6)
    last = Ema(decay=0.5, warmup=True).update(
        {"p": jnp.ones(1)}, {"p": jnp.zeros(1)}, 99
    )
    assert last["p"][0] == 0.5


def test_the_first_average_has_buffers_of_its_own():
    """A step that donates its state may not be given one buffer twice."""
    average = Ema().init(PARAMS)
    assert average["bias"].unsafe_buffer_pointer() != (
        PARAMS["bias"].unsafe_buffer_pointer()
    )
    np.testing.assert_array_equal(average["bias"], PARAMS["bias"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(lr=0.0), "lr = 0.0: must be positive"),
        (lambda: Adam(lr=0.1, beta_1=1.0), "beta_1 = 1.0: must be from 0"),
        (lambda: Adamax(lr=0.1, eps=0.0), "eps = 0.0: must be positive"),
        (lambda: Adam(lr=0.1, weight_decay=-1.0), "weight_decay = -1.0"),
        (lambda: Adam(lr=0.1, clip_norm=0.0), "clip_norm = 0.0: must be positive"),
        (lambda: Ema(decay=1.0), "decay = 1.0: must be from 0 to less than 1"),
        (
            lambda: WarmupCosine(peak=0.1, end=0.2, num_steps=5),
            "end = 0.2: must be from 0 to peak = 0.1",
        ),
        (
            lambda: WarmupCosine(peak=0.1, end=0.0, num_steps=5, warmup_steps=5),
            "warmup_steps = 5: must be from 0 to less than num_steps = 5",
        ),
        (
            lambda: EpochCosine(peak=0.1, end=0.0, num_epochs=1, steps_per_epoch=5),
            "warmup_epochs = 0: must be from 0 to less than num_epochs - 1 = 0",
        ),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

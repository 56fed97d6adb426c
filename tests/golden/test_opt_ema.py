"""Optimisers, average and learning rate: six published updates of four tensors."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lsgm.training.optim import Adam, Adamax, Ema, EpochCosine
from tests.golden.files import fixtures_with

FILES = fixtures_with("p0/*", "grads/*")


def load(path):
    with np.load(path) as arrays:
        z = dict(arrays)
    return z, json.loads(str(z["config"]))


def optimizers(config):
    """By their names in the file."""
    shared = dict(lr=config["lr"], weight_decay=config["weight_decay"], decay_all=True)
    return {
        "adam_l2": Adam(eps=config["adam_eps"], decoupled=False, **shared),
        "adamw_decoupled": Adam(eps=config["adam_eps"], **shared),
        "adamax": Adamax(eps=config["adamax_eps"], **shared),
    }


def tensors(z, prefix):
    found = sorted(k for k in z if k.startswith(f"{prefix}/"))
    return {k.removeprefix(f"{prefix}/"): jnp.asarray(z[k]) for k in found}


def close(actual, stored, lr):
    """1 - 0.999^k in fp32 is off by 6e-8 / (k 1e-3), an update by half of that of
    its size lr: over six updates by 7e-5 lr."""
    for name, array in stored.items():
        np.testing.assert_allclose(actual[name], array, rtol=1e-6, atol=7e-5 * lr)


@pytest.mark.parametrize("name", ["adam_l2", "adamw_decoupled", "adamax"])
@pytest.mark.parametrize("path", FILES)
def test_updates_and_average(path, name):
    z, config = load(path)
    transformation = optimizers(config)[name].build()
    ema = Ema(decay=config["ema_decay"])
    params, grads = tensors(z, "p0"), tensors(z, "grads")
    state, average = transformation.init(params), ema.init(params)
    for step in range(len(grads["0"])):
        grad = {i: g[step] for i, g in grads.items()}
        updates, state = transformation.update(grad, state, params)
        params = optax.apply_updates(params, updates)
        average = ema.update(params, average, step)
        for actual, kind in ((params, "p"), (average, "ema")):
            stored = tensors(z, f"{name}/{kind}")
            close(actual, {i: a[step] for i, a in stored.items()}, config["lr"])


@pytest.mark.parametrize("path", FILES)
def test_average_with_warmup(path):
    z, config = load(path)
    ema = Ema(decay=config["ema_decay"], warmup=True)
    average = ema.init(tensors(z, "p0"))
    run, stored = tensors(z, "adam_l2/p"), tensors(z, "cld_ema")
    for step in range(len(run["0"])):
        params = {i: array[step] for i, array in run.items()}
        average = ema.update(params, average, step)
        close(average, {i: a[step] for i, a in stored.items()}, config["lr"])


@pytest.mark.parametrize("path", FILES)
def test_learning_rate(path):
    z, config = load(path)
    schedule = EpochCosine(
        peak=config["lr"],
        end=config["lr_min"],
        num_epochs=config["epochs"],
        steps_per_epoch=config["iters_per_epoch"],
        warmup_epochs=config["warmup_epochs"],
    )
    stored = z["lr_per_iteration"]
    rates = jax.vmap(schedule)(jnp.arange(len(stored)))
    np.testing.assert_allclose(rates, stored, rtol=1e-5, atol=1e-9)

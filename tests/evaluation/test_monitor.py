"""What is looked at while a stage trains: a look does not end it."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from lsgm.evaluation import monitor
from lsgm.runs import experiment
from lsgm.training import state as states
from tests import tiny
from tests.features.test_reference import Pooled


@pytest.fixture(scope="module")
def made():
    """The tiny experiment, the model of its first stage, and a state of it."""
    found = experiment.described(tiny.config())
    model = found.stages["vae"].objective(found.vae).model
    params, mutables = jax.jit(model.init)(jax.random.key(0))
    state = states.create(jax.random.key(0), params, mutables, {}, ())
    return found, model, state.replace(step=jnp.int32(7))


def poisoned(state):
    """The state with a decoder that yields no finite number."""
    return state.replace(params=jax.tree.map(lambda p: p * jnp.nan, state.params))


def test_training_outlives_samples_that_are_not_finite(made, capsys):
    found, model, state = made
    observer = monitor.sample_observer(model, found.data, found.evaluation, every=4)
    seen = observer.observe(state)
    assert seen.scalars == {"samples/nfe": 0.0}
    assert set(seen.pictures) == {"samples", "reconstructions"}
    assert not capsys.readouterr().err
    seen = observer.observe(poisoned(state))
    assert seen.scalars == {} and not seen.pictures
    assert "step 7: samples are not all finite" in capsys.readouterr().err


def test_selection_outlives_samples_that_are_not_finite(made, capsys):
    """Their distance is not measured, so that such a state is never the best."""
    found, model, state = made
    settings = dataclasses.replace(
        found.evaluation, extractor=Pooled(), selection_samples=8
    )
    observer = monitor.distance_observer(model, found.data, settings, every=4)
    assert set(observer.observe(state).scalars) == {monitor.DISTANCE}
    assert observer.observe(poisoned(state)).scalars == {}
    assert "WARNING: step 7: " in capsys.readouterr().err

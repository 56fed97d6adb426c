"""Walks: the ODE there and back, ends that are the data, the same each time."""

import dataclasses
import functools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lsgm.data.views import ImageView, TextView
from lsgm.evaluation import walks
from lsgm.evaluation.measures.exploration import Exploration
from lsgm.evaluation.settings import Evaluation
from lsgm.evaluation.subject import EvaluationRun, Subject
from lsgm.model import LatentModel
from lsgm.networks.mlp import MLP
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.cld import CLD
from tests import small

FLOW = ProbabilityFlow(rtol=1e-5, atol=1e-5)
MODEL = LatentModel(vae=small.vae(), prior=small.prior())


@functools.cache
def _walk():
    params, mutables = small.variables()
    # The network's share raised from 0.002, so that the ODE moves what it is given.
    own = {**params["prior"], "mixing_logit": params["prior"]["mixing_logit"] + 4.0}
    return walks.walker(MODEL, {**params, "prior": own}, mutables, FLOW)


def _data():
    return MODEL.vae.preprocess(small.batch(4))


@functools.cache
def _code():
    return _walk().encode(_data())


def test_there_and_back_are_the_latents():
    z0 = _code().z0
    u1 = _walk().transport(z0, FLOW.t_end, 1.0)
    back = _walk().transport(u1, 1.0, FLOW.t_end)
    assert float(jnp.max(jnp.abs(u1 - z0))) > 0.1  # it went somewhere
    # Errors of the way to noise grow by 1 / alpha(1) = 150 on the way back.
    np.testing.assert_allclose(back, z0, atol=150 * 10 * FLOW.rtol)


def test_round_trip_of_no_length_is_the_reconstruction():
    times, key = (FLOW.t_end, 2e-5, 0.9), jax.random.key(3)
    at_end, near, far = walks.round_trips(_walk(), _data(), times, FLOW.t_end, key)
    decoded = _walk().decode(_code())
    np.testing.assert_array_equal(at_end, decoded)
    np.testing.assert_allclose(near, decoded, atol=0.05)
    assert float(jnp.mean(jnp.abs(far - decoded))) > float(
        jnp.mean(jnp.abs(near - decoded))
    )


def test_ends_of_an_interpolation_are_round_trips_of_the_data():
    a, b = (jax.tree.map(lambda z, p=p: z[p], _code()) for p in (slice(2), slice(2, 4)))
    walked = walks.interpolate(_walk(), a, b, 3, FLOW.t_end, jax.random.key(4))
    np.testing.assert_allclose(walked[0], _walk().decode(a), atol=5e-3)
    np.testing.assert_allclose(walked[-1], _walk().decode(b), atol=5e-3)
    again = walks.interpolate(_walk(), a, b, 3, FLOW.t_end, jax.random.key(4))
    np.testing.assert_array_equal(walked, again)


def test_walks_of_an_augmented_process():
    """Through states of positions and velocities, and back to the latents."""
    flow = ProbabilityFlow(rtol=1e-4, atol=1e-4, t_end=1e-3)
    prior = dataclasses.replace(
        MODEL.prior,
        sde=CLD(),
        sampler=flow,
        network=MLP(width=8, depth=1, out_channels=MODEL.vae.prior_shape[-1]),
    )
    model = LatentModel(vae=MODEL.vae, prior=prior)
    params, mutables = small.variables()
    own, carried = prior.init(jax.random.key(0), model.vae.prior_shape)
    walk = walks.walker(model, params | own, mutables | carried, flow)
    code = walk.encode(_data())
    decoded = walk.decode(code)
    at_end, far = walks.round_trips(
        walk, _data(), (flow.t_end, 0.9), flow.t_end, jax.random.key(5)
    )
    np.testing.assert_array_equal(at_end, decoded)
    assert float(jnp.mean(jnp.abs(far - decoded))) > 1e-3
    a, b = (jax.tree.map(lambda z, p=p: z[p], code) for p in (slice(2), slice(2, 4)))
    walked = walks.interpolate(walk, a, b, 2, flow.t_end, jax.random.key(4))
    np.testing.assert_allclose(walked[0], decoded[:2], atol=2e-2)
    np.testing.assert_allclose(walked[-1], decoded[2:], atol=2e-2)
    noises = [walk.noise(2, jax.random.key(i)) for i in (6, 7)]
    frames = walks.traverse(walk, noises, 2, flow.t_end)
    assert frames.shape == (2, *decoded[:2].shape)


def test_slerp_keeps_length_and_angle():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 2, 3))
    a, b = (x / np.linalg.norm(x, axis=(1, 2), keepdims=True) for x in (a, b))
    a, b = (jnp.asarray(x, jnp.float32) for x in (a, b))
    way = walks.slerp(a, b, jnp.linspace(0.0, 1.0, 5))
    np.testing.assert_allclose(way[0], a, atol=1e-6)
    np.testing.assert_allclose(way[-1], b, atol=1e-6)
    np.testing.assert_allclose(jnp.linalg.norm(way, axis=(2, 3)), 1, atol=1e-5)
    steps = jnp.sum(way[1:] * way[:-1], (2, 3))
    np.testing.assert_allclose(
        steps, jnp.broadcast_to(steps[:1], steps.shape), atol=1e-5
    )
    same = walks.slerp(a, a, jnp.linspace(0.0, 1.0, 3))
    np.testing.assert_allclose(same, jnp.stack([a] * 3), atol=1e-6)


def test_gif_holds_the_frames(tmp_path):
    frames = np.linspace(0, 1, 4)[:, None, None, None, None] * np.ones((1, 2, 8, 8, 1))
    walks.save_gif(tmp_path / "walk.gif", frames, ImageView())
    with Image.open(tmp_path / "walk.gif") as file:
        assert file.n_frames == 4 and file.info["loop"] == 0


def test_gif_of_texts_has_room_for_the_longest(tmp_path):
    view = TextView(alphabet="ab")
    codes = np.zeros((3, 1, 6, 1, 1))
    codes[1, 0, :5] = 1
    codes[2, 0, :2] = 2
    walks.save_gif(tmp_path / "walk.gif", codes / 2, view)
    with Image.open(tmp_path / "walk.gif") as file:
        assert file.n_frames == 3
        height, width, _ = view.picture(codes[1] / 2).shape
        assert file.size == (width, height)


@pytest.mark.parametrize(
    "fields", [dict(num=0), dict(num_steps=1), dict(times=(1.5,)), dict(times=(0.0,))]
)
def test_settings_are_checked(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Exploration(**fields)


def _explored(what: str, num: int, monkeypatch) -> np.ndarray:
    """Walks whose solver, as an adaptive one does, looks at all that it is given."""

    def stand_in(*model) -> walks.Walker:
        return walks.Walker(
            encode=lambda x: walks.Code(x, ()),
            noise=lambda num, key: walks.Code(
                jax.random.normal(key, (num, small.SIZE, small.SIZE, 1)), ()
            ),
            transport=lambda u, start, end: u + jnp.mean(u),
            decode=lambda code: code.z0,
            diffusion=MODEL.prior.diffusion,
        )

    class Held:
        def eval_batches(self, split, batch_size, num_examples=None):
            def batch(k):
                part = slice(k * batch_size, (k + 1) * batch_size)
                return jax.tree.map(lambda leaf: leaf[part], examples)

            return types.SimpleNamespace(batch=batch)

    monkeypatch.setattr(walks, "walker", stand_in)
    held: Any = Held()
    examples, settings = small.batch(32), Evaluation(measures=())
    subject = Subject(MODEL, {}, {}, held, settings, card={}, records={})
    walked = Exploration(num=num, times=(0.5,), num_steps=3, num_noises=2)
    return np.asarray(walked.walk(EvaluationRun(subject, 0), what))


@pytest.mark.parametrize("what", ["round_trip", "interpolation", "traversal"])
def test_a_walk_is_the_same_whatever_the_number(what, monkeypatch):
    one, many = (_explored(what, num, monkeypatch) for num in (1, 8))
    assert one.shape[1] == 1 and many.shape[1] == 8
    np.testing.assert_array_equal(one[:, 0], many[:, 0])
    assert np.any(many[:, 0] != many[:, 6])


def test_a_pair_is_of_neighbours(monkeypatch):
    pairs = _explored("interpolation", 8, monkeypatch)
    single = _explored("round_trip", 8, monkeypatch)
    np.testing.assert_array_equal(pairs[0, :4], single[0, :8:2])
    np.testing.assert_array_equal(pairs[-1, :4], single[0, 1:8:2])

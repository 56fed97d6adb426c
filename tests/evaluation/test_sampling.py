"""Samples are a function of the seed and their place, however many are asked for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.config import ConfigError, build
from lsgm.data.points import Points
from lsgm.evaluation import sampling
from lsgm.evaluation.settings import Evaluation
from lsgm.evaluation.subject import EvaluationRun, Subject
from lsgm.model import Generated, LatentModel
from lsgm.priors.normal import StandardNormal
from tests import small, tiny

BATCH = 4


class Crowd(LatentModel):
    """A model whose samples depend on how many are drawn at once, as those of an
    adaptive solver do."""

    def sample(self, params, mutables, key, num, **settings) -> Generated:
        noise = jax.random.uniform(key, (num, 1, 1, 1))
        images = noise / num
        return Generated(images, images, jnp.int32(num))


def evaluation_run(**fields: Any) -> EvaluationRun:
    settings = Evaluation(measures=(), batch_size=BATCH, **fields)
    crowd = Crowd(vae=small.vae(), prior=StandardNormal())
    subject = Subject(
        crowd, {}, {}, Points(name="moons"), settings, card={}, records={}
    )
    return EvaluationRun(subject, 0)


def test_a_sample_is_the_same_whatever_the_number():
    run = evaluation_run()
    whole = np.concatenate([drawn.images for drawn in run.draw(8, BATCH)])
    assert len(np.unique(whole)) == 8
    for num in (1, 3, 4, 7):
        found = list(run.draw(num, BATCH))
        images = np.concatenate([drawn.images for drawn in found])
        np.testing.assert_array_equal(images, whole[:num])
        assert sum(len(drawn.nfe) for drawn in found) == num


def test_what_several_measures_use_are_the_first_samples():
    drawn = [evaluation_run(num_samples=num).generated.nfe for num in (3, 6)]
    assert [len(nfe) for nfe in drawn] == [3, 6]
    assert set(np.concatenate(drawn).tolist()) == {BATCH}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_impossible_temperatures_are_refused(value):
    with pytest.raises(ValueError, match="temperature = .*: must be finite"):
        Evaluation(measures=(), temperature=value)


def test_temperature_zero_is_no_noise():
    assert Evaluation(measures=(), temperature=0.0).temperature == 0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("lsgm.samplers.sscs:SSCS", "SSCS needs a Langevin process"),
        ("lsgm.samplers.grids:Angle", "is no sampler"),
    ],
)
def test_a_sampler_that_does_not_fit_is_refused_by_name(target, message):
    prior = build(tiny.score_prior(), "prior")
    model = LatentModel(vae=small.vae(), prior=prior)
    with pytest.raises(ConfigError, match=f"sampler = '{target}'.*{message}"):
        sampling.with_sampler(model, {"target": target})

"""Configs that older code stored open as what they were, and their runs go on."""

import json
import pathlib

import pytest

from configs import demo
from lsgm.config import plain
from lsgm.evaluation.measures.bound import HeldOutBound
from lsgm.evaluation.measures.distances import Distances
from lsgm.evaluation.measures.exploration import Exploration
from lsgm.evaluation.measures.latents import LatentStatistics
from lsgm.evaluation.measures.likelihood import FlowLikelihood
from lsgm.evaluation.measures.memorization import Memorization
from lsgm.evaluation.measures.pictures import Pictures
from lsgm.evaluation.measures.reconstruction import Reconstruction
from lsgm.evaluation.measures.sampling import SamplingCost
from lsgm.runs import experiment
from lsgm.runs.stored import resolve
from lsgm.runs.workdir import WorkdirError, claim
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.statistics.manifolds import Manifolds
from tests import tiny

DATA = pathlib.Path(__file__).parent / "data"


def stored(name: str) -> dict:
    return json.loads((DATA / name).read_text())


def test_measures_that_were_switched_on_without_being_named():
    settings = experiment.described(stored("config_v1.json")).evaluation
    assert settings.extractor.name == "digit CNN"
    assert settings.measures == (
        HeldOutBound(),
        Reconstruction(),
        SamplingCost(),
        Pictures(),
        Distances(),
        Memorization(),
        LatentStatistics(),
    )


def test_every_field_of_a_measure_arrives():
    settings = experiment.described(stored("config_v1_full.json")).evaluation
    assert settings.measures == (
        HeldOutBound(num_examples=150, num_draws=2),
        Reconstruction(num_examples=150, num_draws=2),
        FlowLikelihood(
            num_examples=20,
            num_samples=2,
            flow=ProbabilityFlow(rtol=1e-4, atol=1e-4),
        ),
        SamplingCost(timing_repeats=3),
        Pictures(),
        Distances(manifolds=Manifolds(precision_neighbour=4)),
        Memorization(num_images=100),
        Exploration(num=4),
        LatentStatistics(num_examples=200),
    )
    # What measures share stays where it was.
    assert (settings.num_samples, settings.selection_samples) == (2000, 500)
    assert settings.reference_split == "train" and settings.ledger.twin


@pytest.mark.parametrize(
    ("field", "value", "gone"),
    [
        ("latent_examples", 0, "LatentStatistics"),
        ("memorization", None, "Memorization"),
        ("extractor", None, "Distances"),
        ("exploration", None, "Exploration"),
    ],
)
def test_what_was_switched_off_is_not_measured(field, value, gone):
    config = stored("config_v1_full.json")
    before = [m["target"] for m in resolve(config)["evaluation"]["measures"]]
    config["evaluation"][field] = value
    after = [m["target"] for m in resolve(config)["evaluation"]["measures"]]
    assert any(gone in target for target in before)
    assert not any(gone in target for target in after)


def test_a_config_of_today_stays_as_it_is():
    config = json.loads(json.dumps(plain(tiny.config())))
    assert resolve(config) == config


def test_a_run_of_old_code_goes_on_by_the_same_command(tmp_path):
    """The file there is of the old layout, the config of the command of today's."""
    (tmp_path / "config.json").write_text((DATA / "config_v1.json").read_text())
    config = demo.get_config()
    claim(tmp_path, resolve(config))
    config.seed = 1
    with pytest.raises(WorkdirError, match="seed: 0 there, 1 now"):
        claim(tmp_path, resolve(config))

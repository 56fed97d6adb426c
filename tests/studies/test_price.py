"""The price of a study: its jobs of one seed, shared stages once."""

import dataclasses

import pytest

from lsgm.config import plain
from lsgm.planning import tables
from lsgm.planning.plan import costs
from lsgm.runs import experiment
from lsgm.studies import budget, price
from lsgm.studies.study import from_config
from tests import tiny_study
from tests.planning.test_plan import COST


@pytest.fixture(scope="module")
def config():
    config = tiny_study.get_config()
    config.seeds = (3, 4, 5)
    return config


@pytest.fixture(scope="module")
def found(config):
    return list(price.prices(from_config(config)))


def test_shared_stages_are_priced_once(found):
    shared, *points = found
    assert shared.name.startswith("shared vae_")
    assert [cost.name for cost in shared.stages] == ["vae"]
    assert [one.name for one in points] == ["on", "off"]
    assert all([cost.name for cost in one.stages] == ["lsgm"] for one in points)


@pytest.mark.slow
def test_prices_are_those_of_the_experiment_alone(config, found):
    vae, lsgm = costs(experiment.described(config.base))
    for cost, alone in ((found[0].stages[0], vae), (found[1].stages[0], lsgm)):
        # FLOP are counted on the stage's own batch; in a plan on another, of which
        # optimiser and penalties are another share.
        count = budget.flop(budget.step(plain(config.base), cost.name))
        assert cost.flop_per_image * cost.batch_size == count
        assert dataclasses.replace(cost, flop_per_image=1.0) == dataclasses.replace(
            alone, flop_per_image=1.0
        )


def test_page_sums_all_seeds(config, found, capsys):
    tables.study(config, (1, "v100-32gb"), 0.3)
    page = capsys.readouterr().out
    assert "one seed of 3" in page
    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[1] for row in rows] == ["vae", "lsgm", "lsgm"]
    plans = [
        one for job in found for one in tables.study_plans(job, (1, "v100-32gb"), 0.3)
    ]
    hours = 3 * sum(one.device_hours for one in plans)
    assert tables.duration(hours / 24) in page.splitlines()[-1]


def test_points_that_differ_in_steps_are_traced_once(config, monkeypatch):
    traced = []

    def stage_cost(name, stage, vae, state, flop_per_image):
        traced.append(name)
        return dataclasses.replace(COST, name=name, flop_per_image=flop_per_image)

    monkeypatch.setattr(budget, "abstract_state", lambda stage, vae: None)
    monkeypatch.setattr(budget, "step_flop", lambda stage, vae, state, num: 8.0 * num)
    monkeypatch.setattr(price, "stage_cost", stage_cost)
    for cached in (budget.shapes, budget.flop, price._cost):
        cached.cache_clear()
    key = "stages.lsgm.num_steps"
    config = config.copy_and_resolve_references()
    config.axes = {"length": {"short": {key: 10}, "long": {key: 30}}}
    _, short, long = price.prices(from_config(config))
    assert traced == ["vae", "lsgm"]
    assert 3 * short.stages[0].train_flop == long.stages[0].train_flop
    for cached in (budget.shapes, budget.flop, price._cost):
        cached.cache_clear()

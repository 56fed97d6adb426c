"""Configs written before classes moved open under the paths of today."""

import pytest

from lsgm.config import build, locate
from lsgm.moved import MOVED, renew


@pytest.mark.parametrize("then", MOVED)
def test_an_old_path_leads_to_the_class_of_today(then):
    module, name = MOVED[then].split(":")
    found = locate(renew({"target": then}), "")
    assert (found.__module__, found.__name__) == (module, name)


def test_a_config_is_renewed_wherever_it_names_a_class():
    then, now = "lsgm.samplers.grids:Uniform", "lsgm.samplers.grids:UniformGrid"
    config = {"a": ({"target": then}, ({"target": now}, 3)), "b": "Uniform", "c": None}
    assert renew(config) == {
        "a": ({"target": now}, ({"target": now}, 3)),
        "b": "Uniform",
        "c": None,
    }


def test_a_renamed_piece_builds():
    times = {
        "target": "lsgm.objectives.time_sampling:Importance",
        "weighting": {"target": "lsgm.objectives.weighting:Likelihood"},
    }
    assert type(build(times).weighting).__name__ == "LikelihoodWeighting"

"""The command that prices runs: what it prints, and what it refuses."""

import json
import pathlib
import subprocess
import sys

import pytest

from experiments import plan as command
from lsgm.planning import tables
from lsgm.planning.cost import Compiled
from lsgm.planning.devices import DEVICES
from lsgm.planning.plan import plan
from tests.planning.test_plan import COST, SMALL


def test_page_names_sizes_time_and_verdict():
    page = command.text([plan(COST, 16, SMALL, 0.25)], "v100-32gb", 0.25)
    for part in (
        "16 x v100-32gb, 25% of 1 TFLOP/s",
        "1,000 steps of 64 images, 4 on each device",
        "4x4x8 by scale",
        "fits",
        "1.92e+11 a step, 1.92e+14 in all",
        "images/s",
    ):
        assert part in page
    assert "DOES NOT FIT: " in command.text([plan(COST, 1, SMALL, 1.0)], "v", 1.0)


def test_sizes_and_times_are_in_units_that_show_them():
    assert tables.volume(1.06e12) == "1.06 TB" and tables.volume(32e9) == "32 GB"
    assert tables.volume(44.4e6) == "44.4 MB" and tables.volume(400) == "0.0004 MB"
    assert tables.duration(1.5) == "1.50 days"
    assert tables.duration(0.05) == "1.20 hours"


def test_figures_are_plain_and_complete():
    found = command.figures(plan(COST, 16, SMALL, 0.25), None)
    assert found["stage"]["memory"]["gradients"] == 400
    assert found["days"] > 0 and found["device"]["memory"] == 4000


def test_every_published_recipe_is_priced():
    root = pathlib.Path(__file__).parents[2] / "configs"
    small = ("__init__", "laptop", "recipe", "small", "twin")
    apart = ("ablations", "benchmark", "comparisons", "fashion_mnist", "text", "toy2d")
    published = {
        f"{path.parent.name}.{path.stem}"
        for path in root.glob("*/*.py")
        if path.stem not in small and path.parent.name not in apart
    }
    assert {recipe.partition(":")[0] for recipe in tables.RECIPES} == published
    for recipe in tables.RECIPES:
        assert tables.recipe_config(recipe).stage_order


def test_fleets_are_known_devices():
    assert {name for _, name in tables.FLEETS} <= DEVICES.keys()


def test_a_batch_that_does_not_divide_is_said_in_the_table():
    odd = tables.recipe_cell(COST, (24, "a100-80gb"), 0.3)
    assert odd == "batch 64 does not divide"


def test_a_plan_is_compared_with_what_xla_says():
    one = plan(COST, 16, SMALL, 0.25)
    found = Compiled(4, 1.5 * 4 * COST.flop_per_image, bytes=2000, peak=None)
    line = command.comparison(one, found)
    assert "stage lsgm, 4 images" in line and "measured" not in line
    assert "XLA 0.002 MB (+10%)" in line and "XLA 1.8e+10 (-33%)" in line
    line = command.comparison(one, found._replace(peak=2750.0))
    assert "measured 0.00275 MB (-20%)" in line
    assert command.figures(one, found)["compiled"]["bytes"] == 2000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo", "benchmark/small", "benchmark/medium"])
def test_plans_of_small_models_are_those_of_xla_and_of_the_system(name, tmp_path):
    """FLOP within 10 % of the compiled step; memory within 15 % of it, and of what a
    process of its own is seen to take."""
    file = tmp_path / "plan.json"
    args = [f"--config=configs/{name}.py", "--measure", f"--json={file}"]
    subprocess.run([sys.executable, "-m", "experiments.plan", *args], check=True)
    for one in json.loads(file.read_text()):
        found = one["compiled"]
        flop = found["images"] * one["stage"]["flop_per_image"]
        assert abs(one["bytes"] / found["bytes"] - 1) < 0.15
        assert abs(flop / found["flop"] - 1) < 0.1
        assert abs(one["bytes"] / found["peak"] - 1) < 0.15

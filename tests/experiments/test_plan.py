"""The command that prices runs: what it prints, and what it refuses."""

from experiments import plan as command
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


def test_figures_are_plain_and_complete():
    found = command.figures(plan(COST, 16, SMALL, 0.25))
    assert found["stage"]["memory"]["gradients"] == 400
    assert found["days"] > 0 and found["device"]["memory"] == 4000


def test_fleets_are_known_devices():
    assert {name for _, name in command.FLEETS} <= DEVICES.keys()


def test_a_batch_that_does_not_divide_is_said_in_the_table():
    odd = command.cell(COST, 24, "a100-80gb", 0.3)
    assert odd == "batch 64 does not divide"

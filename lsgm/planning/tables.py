"""Tables of prices: of all published recipes, and of a study."""

import importlib
import sys
from typing import Any

from lsgm.config import ConfigError
from lsgm.planning.devices import device
from lsgm.planning.plan import Plan, StageCost, costs, plan
from lsgm.reports.markdown import markdown_table
from lsgm.runs import experiment
from lsgm.studies.price import Price, prices
from lsgm.studies.study import from_config

RECIPES = (
    "cifar10.balanced",
    "cifar10.best_fid",
    "cifar10.best_nll",
    "mnist.lsgm",
    "omniglot.lsgm",
    "celeba_hq_256.quantitative",
    "celeba_hq_256.qualitative",
    "cifar10.vpsde",
    "cifar10.subvpsde",
    "cifar10.vesde",
    "celeba_hq_256.vesde",
    "cifar10.cld",
    "celeba_hq_256.cld",
    "celeba_hq_256.cld:paper",
    "cifar10.ddgan",
    "stacked_mnist.ddgan",
    "lsun_church_256.ddgan",
    "celeba_hq_256.ddgan",
)
FLEETS = ((16, "v100-32gb"), (8, "a100-80gb"), (8, "h100-80gb"), (16, "tpu-v5e"))
Fleet = tuple[int, str]


def recipes(utilization: float) -> None:
    """Print the page of all recipes, row by row as they are priced."""
    header = ["recipe", "stage", "parameters, M", "steps", "FLOP"]
    header += [f"{number} x {name}" for number, name in FLEETS]
    _print(markdown_table(header, [], texts=2))
    for recipe in RECIPES:
        config = recipe_config(recipe)
        for cost in costs(experiment.described(config)):
            _print_row(recipe_row(recipe, cost, utilization))


def recipe_config(recipe: str) -> Any:
    """By its module below ``configs``, and a variant after a colon."""
    module, _, variant = recipe.partition(":")
    return importlib.import_module(f"configs.{module}").get_config(variant or "full")


def recipe_row(recipe: str, cost: StageCost, utilization: float) -> list[str]:
    """A stage of a recipe on every fleet."""
    return [
        recipe,
        cost.name,
        millions(cost),
        f"{cost.num_steps:,}",
        f"{cost.train_flop:.2g}",
        *(recipe_cell(cost, fleet, utilization) for fleet in FLEETS),
    ]


def recipe_cell(cost: StageCost, fleet: Fleet, utilization: float) -> str:
    """Time, and memory on a device."""
    number, name = fleet
    try:
        one = plan(cost, number, device(name), utilization)
    except ConfigError:
        return f"batch {cost.batch_size} does not divide"
    return f"{duration(one.days)}, {memory(one)}"


def study(config: Any, fleet: Fleet, utilization: float) -> None:
    """Print the price of a study, job by job as they are priced.

    Raises:
      ConfigError: in the study, in the experiment of a point, or a batch that the
        devices do not divide.
    """
    number, name = fleet
    asked = from_config(config)
    seeds = len(asked.seeds)
    print(
        f"{asked.title}, {number} x {name}, {utilization:.0%} of "
        f"{device(name).float32 / 1e12:g} TFLOP/s in float32; "
        f"one seed of {seeds}\n"
    )
    if asked.match != "steps":
        print("counting the FLOP of every point first, to match them", file=sys.stderr)
    header = ["job", "stage", "parameters, M", "steps", "FLOP", "time", "memory"]
    _print(markdown_table(header, [], texts=2))
    days = 0.0
    for price in prices(asked):
        for one in study_plans(price, fleet, utilization):
            days += one.days
            _print_row(study_row(price.name, one))
    days *= seeds
    hours = 24 * number * days
    print(
        f"\nin all, {seeds} seed{'s' * (seeds > 1)}: {duration(days)} one after the "
        f"other, {hours:,.0f} device-hours; evaluations are not counted"
    )


def study_plans(price: Price, fleet: Fleet, utilization: float) -> list[Plan]:
    """The stages that a job trains, on these devices."""
    number, name = fleet
    return [plan(cost, number, device(name), utilization) for cost in price.stages]


def study_row(job: str, one: Plan) -> list[str]:
    """A stage of a job."""
    cost = one.stage
    return [
        job,
        cost.name,
        millions(cost),
        f"{cost.num_steps:,}",
        f"{cost.train_flop:.2g}",
        duration(one.days),
        memory(one),
    ]


def millions(cost: StageCost) -> str:
    """Parameters of all groups, in millions."""
    return f"{sum(cost.parameters.values()) / 1e6:.1f}"


def memory(one: Plan) -> str:
    """On a device, and whether that is too much."""
    return volume(one.bytes) + ("" if one.fits else ", too much")


def volume(num_bytes: float | int) -> str:
    """Three digits, in the unit that leaves one to three before the point."""
    units = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6))
    unit, size = next((u for u in units if num_bytes >= u[1]), units[-1])
    return f"{num_bytes / size:.3g} {unit}"


def duration(days: float) -> str:
    """In days, or below one in hours."""
    return f"{days:.2f} days" if days >= 1 else f"{24 * days:.2f} hours"


def _print_row(cells: list[str]) -> None:
    _print(markdown_table([], [cells], texts=0)[2:])


def _print(lines: list[str]) -> None:
    print("\n".join(lines), flush=True)

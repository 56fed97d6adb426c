"""Price a run before anything is bought: memory, FLOP, days, on named devices.

    python -m experiments.plan --config=configs/celeba_hq_256/quantitative.py \\
        --devices=16 --device=v100-32gb
    python -m experiments.plan --recipes          # all published ones on four fleets

By shape evaluation and XLA's count of the lowered step: no data, no weights, nothing
compiled. Whether it fits, and what to turn if it does not; ``docs/plan.md`` says how
far to trust it. ``--compile`` asks XLA's own analysis of the steps as compiled here,
``--measure`` runs them and looks at the memory that they take.
"""

import dataclasses
import importlib
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from experiments.flag_errors import parse_flags
from experiments.tables import markdown_table
from lsgm import experiment
from lsgm.config import ConfigError
from lsgm.experiment import Experiment
from lsgm.planning.cost import Compiled, compiled_step
from lsgm.planning.devices import DEVICES, device
from lsgm.planning.memory import abstract_state
from lsgm.planning.plan import Plan, StageCost, costs, plan

RECIPES = (
    "cifar10.balanced",
    "cifar10.best_fid",
    "cifar10.best_nll",
    "mnist.lsgm",
    "omniglot.lsgm",
    "celeba_hq_256.quantitative",
    "celeba_hq_256.qualitative",
)
FLEETS = ((16, "v100-32gb"), (8, "a100-80gb"), (8, "h100-80gb"), (16, "tpu-v5e"))
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with a variant after a colon.", lock_config=True
)
_DEVICES = flags.DEFINE_integer("devices", 1, "How many.", lower_bound=1)
_DEVICE = flags.DEFINE_string("device", "a100-80gb", f"One of {', '.join(DEVICES)}.")
_UTILIZATION = flags.DEFINE_float(
    "utilization",
    0.3,
    "Share of the device's peak that a step reaches: the guess that all times rest on.",
    lower_bound=1e-3,
    upper_bound=1.0,
)
_RECIPES = flags.DEFINE_bool(
    "recipes", False, "A table of all published recipes instead."
)
_COMPILE = flags.DEFINE_bool(
    "compile",
    False,
    "Compile each step for one CPU as well, and print XLA's memory and FLOP of it "
    "beside the plan's. Takes minutes, or hours for a large model.",
)
_MEASURE = flags.DEFINE_bool(
    "measure",
    False,
    "Compile as --compile does, run each step three times on random parameters, and "
    "print the memory that this process takes for it beside the plan's.",
)
_JSON = flags.DEFINE_string("json", None, "File to write the figures to as well.")


def main(argv: list[str]) -> None:
    """Evaluate shapes, print."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    # Shapes are evaluated here; the devices meant are elsewhere.
    jax.config.update("jax_platforms", "cpu")
    try:
        if _RECIPES.value:
            table()
            return
        if _CONFIG.value is None:
            raise ConfigError("config", None, "name a config, or give --recipes")
        wanted = device(_DEVICE.value)
        made = experiment.described(_CONFIG.value)
        plans = [
            plan(cost, _DEVICES.value, wanted, _UTILIZATION.value)
            for cost in costs(made)
        ]
    except ConfigError as error:
        sys.exit(f"error: {error}")
    print(text(plans, _DEVICE.value, _UTILIZATION.value), flush=True)
    document = []
    for one in plans:
        found = None
        if _COMPILE.value or _MEASURE.value:
            found = compiled(made, one, measure=_MEASURE.value)
            print(comparison(one, found), flush=True)
        document.append(figures(one, found))
    if _JSON.value:
        pathlib.Path(_JSON.value).write_text(json.dumps(document, indent=1) + "\n")


def compiled(made: Experiment, one: Plan, *, measure: bool) -> Compiled:
    """XLA's analysis of a stage's update of the images of one device."""
    stage = made.stages[one.stage.name]
    state = abstract_state(stage, made.vae)
    return compiled_step(stage, made.vae, state, one.images, measure=measure)


def comparison(one: Plan, found: Compiled) -> str:
    """A plan beside what XLA says and what was measured, with how much it is off."""
    flop = found.images * one.stage.flop_per_image
    measured = "" if found.peak is None else f", measured {beside(one, found.peak)}"
    return (
        f"compiled: stage {one.stage.name}, {found.images} images on one CPU: memory "
        f"planned {volume(one.bytes)}, XLA {beside(one, found.bytes)}{measured}; "
        f"FLOP planned {flop:.4g}, XLA {found.flop:.4g} ({flop / found.flop - 1:+.0%})"
    )


def beside(one: Plan, num_bytes: float) -> str:
    """Bytes, and how far the plan is above them."""
    return f"{volume(num_bytes)} ({one.bytes / num_bytes - 1:+.0%})"


def figures(one: Plan, found: Compiled | None) -> dict[str, Any]:
    """A plan as plain values, with what is known of its step if that was compiled."""
    derived = ("days", "device_hours", "images_per_second")
    values = dataclasses.asdict(one) | {name: getattr(one, name) for name in derived}
    return values | {"compiled": None if found is None else found._asdict()}


def text(plans: list[Plan], name: str, utilization: float) -> str:
    """All stages, as people read them."""
    first = plans[0]
    rate = first.device.float32 / 1e12
    lines = [
        f"{first.devices} x {name}, {utilization:.0%} of {rate:g} TFLOP/s in float32 "
        f"({first.device.source})"
    ]
    for one in plans:
        lines += ["", *stage_lines(one)]
    days = sum(one.days for one in plans)
    hours = sum(one.device_hours for one in plans)
    lines += ["", f"in all {duration(days)}, {hours:,.0f} device-hours"]
    return "\n".join(lines)


def stage_lines(one: Plan) -> Iterator[str]:
    """One stage: its size, memory, time, and what it reads and writes."""
    cost, held = one.stage, one.stage.memory
    yield (
        f"stage {cost.name}: {cost.num_steps:,} steps of {cost.batch_size} images, "
        f"{one.images:g} on each device"
    )
    for group, number in cost.parameters.items():
        kind = "trained" if group in cost.trained else "frozen"
        yield f"  parameters      {group} {number / 1e6:.2f} M, {kind}"
    yield f"  latents         {', '.join(cost.latents)} by scale, the prior's first"
    parts = {
        "parameters": held.parameters,
        "averages": held.averages,
        "optimiser": held.optimizer,
        "statistics": held.statistics,
        "gradients": held.gradients,
        "activations": one.images * held.activations_per_image,
    }
    yield "  memory          " + ", ".join(
        f"{name} {volume(value)}" for name, value in parts.items()
    )
    verdict = "fits" if one.fits else f"DOES NOT FIT: {one.advice()}"
    yield (
        f"                  {volume(one.bytes)} of {volume(one.device.memory)}: "
        f"{verdict}"
    )
    flop = cost.flop_per_image * cost.batch_size
    yield f"  FLOP            {flop:.3g} a step, {cost.train_flop:.3g} in all"
    yield (
        f"  time            {one.seconds:.3g} s a step, {duration(one.days)}, "
        f"{one.device_hours:,.0f} device-hours"
    )
    yield f"  all-reduce      {volume(held.gradients)} of gradients a step"
    pixels = cost.image_bytes * cost.batch_size * cost.num_steps
    yield (
        f"  data            {one.images_per_second:,.0f} images/s, "
        f"{volume(pixels)} of pixels in all"
    )
    yield f"  checkpoint      {volume(held.state)}"


def volume(num_bytes: float) -> str:
    """Three digits, in the unit that leaves one to three before the point."""
    units = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6))
    unit, size = next((u for u in units if num_bytes >= u[1]), units[-1])
    return f"{num_bytes / size:.3g} {unit}"


def duration(days: float) -> str:
    """In days, or below one in hours."""
    return f"{days:.2f} days" if days >= 1 else f"{24 * days:.2f} hours"


def table() -> None:
    """Print the page of all recipes, row by row as they are priced."""
    header = ["recipe", "stage", "parameters, M", "steps", "FLOP"]
    header += [f"{number} x {name}" for number, name in FLEETS]
    head = markdown_table(header, [], texts=2)
    print("\n".join(head), flush=True)
    for recipe in RECIPES:
        config = importlib.import_module(f"configs.{recipe}").get_config()
        for cost in costs(experiment.described(config)):
            print(markdown_table([], [row(recipe, cost)], texts=0)[2], flush=True)


def row(recipe: str, cost: StageCost) -> list[str]:
    """A stage of a recipe on every fleet."""
    return [
        recipe,
        cost.name,
        f"{sum(cost.parameters.values()) / 1e6:.1f}",
        f"{cost.num_steps:,}",
        f"{cost.train_flop:.2g}",
        *(cell(cost, number, name, _UTILIZATION.value) for number, name in FLEETS),
    ]


def cell(cost: StageCost, number: int, name: str, utilization: float) -> str:
    """Days, and gigabytes of those there are on a device."""
    try:
        one = plan(cost, number, device(name), utilization)
    except ConfigError:
        return f"batch {cost.batch_size} does not divide"
    most = "" if one.fits else ", too much"
    return f"{one.days:.1f} days, {one.bytes / 1e9:.1f} GB{most}"


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)

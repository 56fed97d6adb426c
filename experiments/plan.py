"""Price a run before anything is bought: memory, FLOP, days, on named devices.

    python -m experiments.plan --config=configs/celeba_hq_256/quantitative.py \\
        --devices=16 --device=v100-32gb
    python -m experiments.plan --config=configs/ablations/weighting.py   # a study
    python -m experiments.plan --recipes          # all published ones on four fleets

By shape evaluation and XLA's count of the lowered step: no data, no weights, nothing
compiled. Whether it fits, and what to turn if it does not; ``docs/plan.md`` says how
far to trust it. ``--compile`` asks XLA's own analysis of the steps as compiled here,
``--measure`` runs them and looks at the memory that they take.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from experiments import shapes_only
from experiments.flag_errors import parse_flags
from lsgm.config import ConfigError
from lsgm.files import write_file
from lsgm.planning import tables
from lsgm.planning.cost import Compiled, compiled_step
from lsgm.planning.devices import DEVICES, device
from lsgm.planning.memory import abstract_state
from lsgm.planning.plan import Plan, costs, plan
from lsgm.planning.tables import duration, volume
from lsgm.runs import experiment
from lsgm.runs.experiment import Experiment

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with a variant after a colon.", lock_config=True
)
_DEVICES = flags.DEFINE_integer("devices", 1, "How many.", lower_bound=1)
_DEVICE = flags.DEFINE_enum("device", "a100-80gb", [*DEVICES], "What each is.")
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
    "Compile as --compile does, run each step five times on random parameters, and "
    "print the memory that this process takes for it beside the plan's.",
)
_JSON = flags.DEFINE_string("json", None, "File to write the figures to as well.")


def main(argv: list[str]) -> None:
    """Evaluate shapes, print."""
    if argv[1:]:
        raise app.UsageError(f"unexpected arguments {argv[1:]}")
    shapes_only.prepare()
    try:
        if _RECIPES.value:
            tables.recipes(_UTILIZATION.value)
            return
        if _CONFIG.value is None:
            sys.exit("error: name a config by --config, or give --recipes")
        wanted = device(_DEVICE.value)
        if "axes" in _CONFIG.value:
            fleet = (_DEVICES.value, _DEVICE.value)
            tables.study(_CONFIG.value, fleet, _UTILIZATION.value)
            return
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
        write_file(pathlib.Path(_JSON.value), json.dumps(document, indent=1) + "\n")


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


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)

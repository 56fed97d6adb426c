"""Sizes of an experiment, and steps that cost the same.

With F(c) the floating-point operations of one step of a stage under config c and N
its steps, a study matched in FLOP lets every point train

    N(c) = round(N(base) F(base) / F(c))                                   (1)

steps of that stage. Where stages differ, all steps of a point can be scaled alike
instead, so that it trains the base's total,

    N_s(c) = round(N_s sum_r N_r(base) F_r(base) / sum_r N_r F_r(c)).      (2)

What else is counted in steps (warm-up, decay, annealing, periods)
is scaled along, so that every schedule keeps its shape.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from lsgm.config import ConfigError, build
from lsgm.planning.cost import step_flop
from lsgm.planning.memory import abstract_state
from lsgm.runs import experiment
from lsgm.runs.experiment import Experiment
from lsgm.training.stage import Stage
from lsgm.vae import VAE

# Counts of steps, of a stage itself and of its optimisers' and its KL's schedules.
COUNTS = (
    "num_steps",
    "warmup_steps",
    "steps_per_epoch",
    "anneal_steps",
    "const_steps",
    "sample_every",
    "eval_every",
    "checkpoint_every",
)
SCALED = ("optimizers", "kl")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What an experiment is, before it is trained.

    Attributes:
      parameters: of VAE and prior in the last stage.
      latent_dims: of all scales together; prior_dims: of those that the prior
        models.
      train_flop: floating-point operations of all steps of all stages.
    """

    parameters: int
    latent_dims: int
    prior_dims: int
    train_flop: float


def sizes(config: Mapping[str, Any]) -> Sizes:
    """By shape evaluation; nothing is computed."""
    made = experiment.described(config)
    last = made.stages[made.stage_order[-1]]
    init = last.objective(made.vae).init
    params, _ = jax.eval_shape(init, jax.random.key(0))
    return Sizes(
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)),
        latent_dims=sum(map(math.prod, _groups(made))),
        prior_dims=math.prod(made.vae.prior_shape),
        train_flop=float(_total(config)),
    )


def _groups(made: Experiment) -> list[tuple[int, int, int]]:
    return [shape for scale in made.vae.latent_shapes for shape in scale]


def matched(config: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with the steps of every stage by Eq. (1).

    Raises:
      ConfigError: the base has no such stage to take the budget from.
    """
    stages = dict(config["stages"])
    for name in config["stage_order"]:
        if name not in base["stages"]:
            raise ConfigError("match", "flop", f"the base has no stage {name!r}")
        budget = flop(step(base, name)) * base["stages"][name]["num_steps"]
        steps = max(1, round(budget / flop(step(config, name))))
        stages[name] = stretched(stages[name], steps / stages[name]["num_steps"])
        stages[name]["num_steps"] = steps
    return {**config, "stages": stages}


def matched_in_total(
    config: Mapping[str, Any], base: Mapping[str, Any]
) -> dict[str, Any]:
    """``config`` with the steps of all stages by Eq. (2)."""
    factor = _total(base) / _total(config)
    stages = dict(config["stages"])
    for name in config["stage_order"]:
        steps = max(1, round(factor * stages[name]["num_steps"]))
        stages[name] = stretched(stages[name], steps / stages[name]["num_steps"])
        stages[name]["num_steps"] = steps
    return {**config, "stages": stages}


def _total(config: Mapping[str, Any]) -> float:
    """Floating-point operations of a whole training."""
    order, stages = config["stage_order"], config["stages"]
    return sum(stages[name]["num_steps"] * flop(step(config, name)) for name in order)


def stretched(stage: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """A stage's config with all counts of steps multiplied."""
    return {
        name: _counts(value, factor) if name in SCALED else _scaled(name, value, factor)
        for name, value in stage.items()
    }


def _counts(tree: Any, factor: float) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    return {
        name: _counts(_scaled(name, value, factor), factor)
        for name, value in tree.items()
    }


def _scaled(name: str, value: Any, factor: float) -> Any:
    if name not in COUNTS:
        return value
    scaled = value * factor
    # A warm-up of no steps stays one.
    return max(min(1, value), round(scaled)) if isinstance(value, int) else scaled


@dataclasses.dataclass(frozen=True)
class Step:
    """A stage's config and its VAE's; equal to another where one update is the same
    computation.

    Attributes:
      key: both configs, but for the counts of steps.
    """

    key: str
    name: str = dataclasses.field(compare=False)
    vae: Mapping[str, Any] = dataclasses.field(compare=False)
    stage: Mapping[str, Any] = dataclasses.field(compare=False)


def step(config: Mapping[str, Any], name: str) -> Step:
    """The update of the stage ``name`` of an experiment's config."""
    vae, stage = config["vae"], config["stages"][name]
    key = json.dumps([vae, stretched(stage, 0.0)], sort_keys=True)
    return Step(key, name, vae, stage)


class Shapes(NamedTuple):
    """What a step is made of: objects, and the abstract state that it starts from."""

    vae: VAE
    stage: Stage
    state: Any


@functools.cache
def shapes(step: Step) -> Shapes:
    """Traced once for all steps that are equal."""
    vae, stage = build(step.vae, "vae"), build(step.stage, f"stages.{step.name}")
    return Shapes(vae, stage, abstract_state(stage, vae))


@functools.cache
def flop(step: Step) -> float:
    """Floating-point operations of an update, counted once for all that are equal."""
    vae, stage, state = shapes(step)
    return step_flop(stage, vae, state, stage.batch_size)

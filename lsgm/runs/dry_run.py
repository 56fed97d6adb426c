"""What a run would do, in words, before anything is compiled or written."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from lsgm.runs.experiment import Experiment
from lsgm.runs.stored import resolve
from lsgm.runs.train import abstract_state
from lsgm.training.checkpoints import BEST, NEWEST
from lsgm.training.stage import Stage


def describe(
    experiment: Experiment,
    config: Mapping[str, Any] | ConfigDict,
    workdir: pathlib.Path,
) -> str:
    """The resolved config, each stage's groups with their parameters, the devices,
    the data, and the files that a run in ``workdir`` would write."""
    devices = jax.devices()
    processes = jax.process_count()
    lines = [
        json.dumps(resolve(config), indent=2, sort_keys=True),
        "",
        f"devices: {len(devices)} x {devices[0].device_kind} in {processes} process"
        + ("" if processes == 1 else "es"),
        "data: "
        + ", ".join(
            f"{split} {experiment.data.num_examples(split):,}"
            for split in experiment.data.splits()
        )
        + f" examples of shape {tuple(experiment.data.data_shape)}",
    ]
    for name in experiment.stage_order:
        lines += ["", *_describe_stage(experiment, name)]
    lines += ["", "would write:", f"  {workdir / 'config.json'}"]
    for name in experiment.stage_order:
        lines += _files(experiment.stages[name], workdir / name)
    return "\n".join(lines)


def _describe_stage(experiment: Experiment, name: str) -> list[str]:
    stage = experiment.stages[name]
    per_device = stage.batch_size // jax.device_count()
    steps_per_epoch = experiment.data.num_examples("train") // stage.batch_size
    objective = stage.objective(experiment.vae)
    prior = type(stage.prior).__name__
    bound = "with" if stage.prior.has_bound else "without"
    return [
        f"stage {name}: {stage.num_steps:,} steps of {stage.batch_size} examples, "
        f"{per_device} a device; {stage.num_steps / steps_per_epoch:.1f} epochs",
        f"  prior {prior}, {bound} a bound",
        "  updates in a step: "
        + ", then ".join(" and ".join(phase) for phase in objective.phases),
        *(
            f"  group {group}: {count:,} parameters, "
            + (
                f"trained by {type(stage.optimizers[group]).__name__}"
                if group in stage.optimizers
                else "frozen"
            )
            + (", averaged" if group in stage.averaged else "")
            for group, count in _count_parameters(experiment, name).items()
        ),
    ]


def _count_parameters(experiment: Experiment, name: str) -> dict[str, int]:
    state = abstract_state(experiment.stages[name], experiment.vae, name)
    return {
        group: sum(leaf.size for leaf in jax.tree.leaves(tree))
        for group, tree in state.params.items()
    }


def _files(stage: Stage, folder: pathlib.Path) -> list[str]:
    kept = [f"  {folder / NEWEST}/  every {stage.checkpoint_every:,} steps"]
    if stage.keep_best:
        kept.append(f"  {folder / BEST}/  every {stage.sample_every:,} steps if better")
    return [
        *kept,
        f"  {folder / 'metrics.jsonl'}, timing.jsonl, events/  every "
        f"{stage.log_every:,} steps",
        f"  {folder / 'samples'}/, reconstructions/  every "
        f"{stage.sample_every:,} steps",
    ]

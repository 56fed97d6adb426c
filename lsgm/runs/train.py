"""Run the stages of an experiment in a workdir, from where they stand.

Layout of a workdir: ``config.json``, the resolved config; ``<stage>/`` with that
stage's checkpoints, records, and pictures.
"""

import contextlib
import functools
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from lsgm.evaluation import monitor
from lsgm.files import write_file
from lsgm.runs.experiment import Experiment, name_data_keys
from lsgm.runs.stored import resolve
from lsgm.training import inactive
from lsgm.training import state as states
from lsgm.training.best import Best
from lsgm.training.checkpoints import BEST, NEWEST, Checkpoints, describe_run
from lsgm.training.guard import StopRequest, stop_on_signals
from lsgm.training.loop import Loop
from lsgm.training.parallel import AXIS, pmap_update, replicate
from lsgm.training.stage import Stage
from lsgm.training.state import TrainState
from lsgm.training.step import make_update
from lsgm.training.writers import Writers
from lsgm.typing import PRNGKey
from lsgm.vae import VAE


class WorkdirError(RuntimeError):
    """The workdir holds another run."""


def train(
    experiment: Experiment,
    config: Mapping[str, Any] | ConfigDict,
    workdir: pathlib.Path,
) -> None:
    """Train every stage in order; finished stages are only read.

    Raises:
      WorkdirError: the workdir was started with another config; the message
        lists the differences.
      ConfigError: an example that cannot be read; names the key.
      Interrupted: asked to stop by a signal; the state is saved.
    """
    resolved = resolve(config)
    claim(workdir, resolved)
    carried: TrainState | None = None
    with stop_on_signals() as stop, name_data_keys(experiment.data):
        for index, name in enumerate(experiment.stage_order):
            key = jax.random.fold_in(jax.random.key(experiment.seed), index)
            meta = describe_run(resolved, name)
            carried = train_stage(
                experiment, name, workdir / name, key, carried, meta, stop
            )
    print(f"done: {workdir}")


def train_stage(
    experiment: Experiment,
    name: str,
    folder: pathlib.Path,
    key: Any,
    carried: TrainState | None,
    meta: dict[str, Any],
    stop: StopRequest,
) -> TrainState:
    """Train one stage to its end and return its last state."""
    stage = experiment.stages[name]
    init = functools.partial(initial_state, stage, experiment.vae, key)
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(folder / NEWEST))
        restored = checkpoints.restore_latest(jax.eval_shape(init))
        if restored is not None and int(restored.state.step) == stage.num_steps:
            return restored.state
        batches = experiment.data.train_batches(
            experiment.seed,
            stage.batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        if restored is None:
            state = inherit(init(), carried, stage)
            state, window = inactive.drop(state, stage, experiment.vae, batches), []
        else:
            state, window = restored.state, restored.meta["window"]
        best = None
        if stage.keep_best:
            kept = stack.enter_context(Checkpoints(folder / BEST))
            best = Best(kept, monitor.DISTANCE, meta)
        writers = Writers(folder, name, int(state.step), stage.num_steps)
        loop = Loop(
            stage=stage,
            update=mapped_update(stage, experiment.vae),
            batches=batches.iterate,
            checkpoints=checkpoints,
            writers=stack.enter_context(writers),
            observers=observers(experiment, stage),
            meta=meta,
            best=best,
        )
        return loop.run(replicate(state), window, stop)


def initial_state(stage: Stage, vae: VAE, key: PRNGKey) -> TrainState:
    """The state that a stage starts from where there is nothing to inherit."""
    init_key, run_key = jax.random.split(key)
    params, mutables = stage.objective(vae).init(init_key)
    transformations = stage.transformations()
    return states.create(run_key, params, mutables, transformations, stage.averaged)


def mapped_update(stage: Stage, vae: VAE) -> Callable[..., Any]:
    """The stage's update, mapped over all devices."""
    return pmap_update(
        make_update(stage.objective(vae), stage.transformations(), stage.ema, AXIS)
    )


def observers(experiment: Experiment, stage: Stage) -> list[Any]:
    """What is looked at while ``stage`` trains."""
    model = stage.objective(experiment.vae).model
    settings, data = experiment.evaluation, experiment.data
    found = [
        monitor.sample_observer(model, data, settings, stage.sample_every),
        monitor.bound_observer(model, data, settings, stage.eval_every),
    ]
    if stage.keep_best:
        every = stage.sample_every
        found.append(monitor.distance_observer(model, data, settings, every))
    return found


def inherit(state: TrainState, carried: TrainState | None, stage: Stage) -> TrainState:
    """Take parameters and statistics of groups that the stage before had too,
    ``stage.fresh`` excepted."""
    if carried is None:
        return state
    params, mutables = dict(state.params), dict(state.mutables)
    for group in (params.keys() & carried.params.keys()) - set(stage.fresh):
        params[group] = carried.params[group]
        mutables[group] = {**mutables[group], **carried.mutables[group]}
    opt = {g: tx.init(params[g]) for g, tx in stage.transformations().items()}
    ema = {g: stage.ema.init(params[g]) for g in stage.averaged}
    return state.replace(params=params, opt=opt, ema=ema, mutables=mutables)


def claim(workdir: pathlib.Path, config: dict[str, Any]) -> None:
    """Write the config into a new workdir, or check that it is the one there."""
    path = workdir / "config.json"
    if not path.exists():
        # Each process of a run on several hosts writes the same.
        write_file(path, json.dumps(config, indent=2, sort_keys=True) + "\n")
        return
    there, here = (
        flatten_dict(tree, sep=".")
        for tree in (resolve(json.loads(path.read_text())), config)
    )
    changed = [
        f"  {key}: {there.get(key, 'absent')!r} there, {here.get(key, 'absent')!r} now"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    if changed:
        raise WorkdirError(
            f"{workdir} was started with another config; use another workdir, or "
            "undo the difference:\n" + "\n".join(changed)
        )

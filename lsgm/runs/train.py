"""Run the stages of an experiment in a workdir, from where they stand.

Layout of a workdir: ``config.json``, the resolved config; ``<stage>/`` with that
stage's checkpoints, records, and pictures.
"""

import contextlib
import dataclasses
import functools
import math
import pathlib
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from lsgm import streams
from lsgm.config import ConfigError
from lsgm.evaluation import monitor
from lsgm.interpreter import evaluate
from lsgm.runs.experiment import Experiment, name_data_keys
from lsgm.runs.stored import resolve
from lsgm.runs.workdir import claim
from lsgm.streams import Use
from lsgm.terminal import warn
from lsgm.training import hosts, inactive
from lsgm.training import state as states
from lsgm.training.best import Best
from lsgm.training.checkpoints import (
    BEST,
    NEWEST,
    Checkpoints,
    Snapshot,
    describe_run,
)
from lsgm.training.guard import (
    DivergedError,
    HealthWatch,
    Interrupted,
    StopRequest,
    judge_outcome,
    stop_on_signals,
)
from lsgm.training.loop import Loop
from lsgm.training.parallel import AXIS, pmap_update
from lsgm.training.records import read_records, say_lost
from lsgm.training.stage import Stage
from lsgm.training.state import TrainState
from lsgm.training.step import make_update
from lsgm.training.writers import METRICS, Writers
from lsgm.typing import Params, PRNGKey
from lsgm.vae import VAE

LOCK = "train.lock"
SHOWN_EXAMPLES = 16


def train(
    experiment: Experiment,
    config: Mapping[str, Any] | ConfigDict,
    workdir: pathlib.Path,
) -> None:
    """Train every stage in order; finished stages are only read.

    Raises:
      InUseError: another process trains in the workdir.
      WorkdirError: the workdir was started with another config; the message
        lists the differences.
      ConfigError: networks that cannot be built, before the workdir is claimed; an
        example that cannot be read; names the key.
      DivergedError: a stage went astray.
      Interrupted: asked to stop by a signal; the state is saved.
    """
    resolved = resolve(config)
    carried: TrainState | None = None
    shapes = {
        name: abstract_state(experiment.stages[name], experiment.vae, name)
        for name in experiment.stage_order
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(hosts.hold(workdir / LOCK))
        claim(workdir, resolved)
        stop = stack.enter_context(stop_on_signals())
        stack.enter_context(name_data_keys(experiment.data))
        for index, name in enumerate(experiment.stage_order):
            if hosts.agree(stop.requested):
                raise Interrupted(f"stopped before stage {name}", stop.signal)
            key = jax.random.fold_in(jax.random.key(experiment.seed), index)
            meta = describe_run(resolved, name)
            carried = train_stage(
                experiment, name, workdir / name, key, carried, meta, stop, shapes[name]
            )
        evaluates = experiment.evaluation.ledger is not None
        if evaluates and hosts.agree(stop.requested):
            message = "trained all stages, and stopped before the evaluation"
            raise Interrupted(message, stop.signal)
    print(f"done: {workdir}")


def train_stage(
    experiment: Experiment,
    name: str,
    folder: pathlib.Path,
    key: Any,
    carried: TrainState | None,
    meta: dict[str, Any],
    stop: StopRequest,
    shapes: TrainState,
) -> TrainState:
    """Train one stage to its end and return its last state.

    Args:
      shapes: of the state, as ``abstract_state`` gives them.

    Raises:
      DivergedError: it went astray, more often than the stage may roll back.
    """
    stage = experiment.stages[name]
    init = functools.partial(initial_state, stage, experiment.vae, key)
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(folder / NEWEST))
        restored = checkpoints.restore_latest(shapes)
        if restored is not None:
            _warn_of_lost_records(folder, restored)
            if int(restored.state.step) == stage.num_steps:
                return restored.state
        if hosts.agree(stop.requested):
            raise Interrupted(f"stopped before training {name}", stop.signal)
        kept = None
        if stage.keep_best:
            kept = stack.enter_context(Checkpoints(folder / BEST))
        attempt = Attempt(
            experiment=experiment,
            name=name,
            folder=folder,
            init=init,
            carried=carried,
            meta=meta,
            checkpoints=checkpoints,
            kept=kept,
        )
        rollbacks = 0 if restored is None else restored.meta.get("rollbacks", 0)
        while True:
            try:
                state = attempt.run(restored, rollbacks, stop)
                break
            except DivergedError as error:
                rollbacks += 1
                restored = attempt.roll_back(error, rollbacks)
        _warn_of_outcome(experiment, folder)
        return state


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """One stage's training, as often as it has to be begun.

    Attributes:
      kept: the best states' checkpoints, where the stage keeps them.
    """

    experiment: Experiment
    name: str
    folder: pathlib.Path
    init: Callable[[], TrainState]
    carried: TrainState | None
    meta: dict[str, Any]
    checkpoints: Checkpoints
    kept: Checkpoints | None

    @property
    def stage(self) -> Stage:
        return self.experiment.stages[self.name]

    def run(
        self, restored: Snapshot | None, rollbacks: int, stop: StopRequest
    ) -> TrainState:
        """Train from a checkpoint, or from the start, to the stage's end.

        Args:
          rollbacks: how often the stage was rolled back; each time halves the learning
            rates, and has a data order of its own.

        Raises:
          DivergedError: it went astray.
        """
        stage, vae = self.stage, self.experiment.vae
        batches = self._batches(rollbacks)
        if restored is None:
            state = inherit(self.init(), self.carried, stage)
            state, window = inactive.drop(state, stage, vae, batches), []
        else:
            state, window = restored.state, restored.meta.get("window", [])
        if rollbacks > (restored.meta.get("rollbacks", 0) if restored else 0):
            key = streams.fold(state.key, Use.ROLLBACK)
            state = state.replace(key=jax.random.fold_in(key, rollbacks))
        meta = {**self.meta, "rollbacks": rollbacks}
        best = None
        if self.kept is not None:
            best = Best(self.kept, monitor.DISTANCE, meta)
        with Writers(self.folder, self.name, int(state.step), stage.num_steps) as open_:
            loop = Loop(
                stage=stage,
                update=mapped_update(stage, vae, 0.5**rollbacks),
                batches=batches.iterate,
                checkpoints=self.checkpoints,
                writers=open_,
                observers=observers(self.experiment, stage),
                meta=meta,
                best=best,
                health=_resume_watch(stage, restored, rollbacks),
            )
            return loop.run(state, window, stop)

    def roll_back(self, error: DivergedError, rollbacks: int) -> Snapshot | None:
        """The last healthy checkpoint, later ones removed; None if there is none, and
        the stage has to begin anew.

        Raises:
          DivergedError: ``error`` with a diagnosis, where this is once too often.
        """
        index = error.began - 1
        examples = self._batches(rollbacks - 1).indices(index).tolist()
        shown = ", ".join(map(str, examples[:SHOWN_EXAMPLES]))
        more = ", ..." if len(examples) > SHOWN_EXAMPLES else ""
        error.explain(
            f"Stage {self.name}, batch {index}, examples of the train split: "
            f"{shown}{more}."
        )
        step = self.checkpoints.find_healthy()
        if rollbacks > self.stage.max_rollbacks:
            error.explain(
                f"The last healthy checkpoint is of step {step}, rolled back "
                f"{rollbacks - 1} times. Lower the learning rate, clip gradients "
                "(optimizers.<group>.clip_norm), or raise regularization, and start in "
                f"a new workdir; or set stages.{self.name}.max_rollbacks."
            )
            raise error
        warn(str(error))
        warn(
            f"rollback {rollbacks} of {self.stage.max_rollbacks}: going on from step "
            f"{step} with another data order and learning rates x {0.5**rollbacks:g}"
        )
        for folder in filter(None, (self.checkpoints, self.kept)):
            folder.drop_after(step)
        return self.checkpoints.restore_latest(jax.eval_shape(self.init))

    def _batches(self, rollbacks: int) -> Any:
        experiment = self.experiment
        place = experiment.stage_order.index(self.name)
        return experiment.data.train_batches(
            streams.data_seed(experiment.seed, place, rollbacks),
            self.stage.batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )


def _resume_watch(
    stage: Stage, restored: Snapshot | None, rollbacks: int
) -> HealthWatch:
    """What looks at the steps, with what it knew when the checkpoint was saved."""
    watch = HealthWatch(limit=stage.max_suspicious, max_jump=stage.max_jump)
    known = {} if restored is None else restored.meta.get("health", {})
    return dataclasses.replace(
        watch, **{k: v for k, v in known.items() if k not in ("limit", "max_jump")}
    )


def _warn_of_lost_records(folder: pathlib.Path, restored: Snapshot) -> None:
    if jax.process_index() == 0:
        step, expected = int(restored.state.step), restored.meta.get("records")
        if lost := say_lost(folder / METRICS, step, expected):
            warn(lost)


def _warn_of_outcome(experiment: Experiment, folder: pathlib.Path) -> None:
    """Say loudly where a stage ended worse than it began, or than no model."""
    if jax.process_index() != 0:
        return
    top, size = experiment.data.max_level, math.prod(experiment.data.data_shape)
    uniform = None if top is None else size * math.log(top + 1)
    for fault in judge_outcome(read_records(folder / METRICS), uniform):
        warn(f"{folder}: {fault}. Look at the learning rates and at {METRICS}.")


def initial_state(stage: Stage, vae: VAE, key: PRNGKey) -> TrainState:
    """The state that a stage starts from where there is nothing to inherit."""

    def create(key: PRNGKey) -> TrainState:
        init_key, run_key = jax.random.split(key)
        params, mutables = stage.objective(vae).init(init_key)
        transformations = stage.transformations()
        return states.create(run_key, params, mutables, transformations, stage.averaged)

    return evaluate(create, key)


def abstract_state(stage: Stage, vae: VAE, name: str) -> TrainState:
    """Shapes and types of a stage's state; nothing is computed.

    Raises:
      ConfigError: the networks cannot be built so.
    """
    try:
        return jax.eval_shape(lambda: initial_state(stage, vae, jax.random.key(0)))
    except (ValueError, TypeError, ArithmeticError) as error:
        first = str(error).strip().partition("\n")[0]
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{pathlib.Path(last.filename).name}, line {last.lineno}"
        message = (
            f"its networks cannot be built: {type(error).__name__}: {first} ({where}); "
            "look at vae and at the stage's prior"
        )
        raise ConfigError(
            f"stages.{name}", type(stage.prior).__name__, message
        ) from error


def mapped_update(stage: Stage, vae: VAE, factor: float = 1.0) -> Callable[..., Any]:
    """The stage's update of packed states, mapped over all devices; learning rates
    times ``factor``."""
    optimizers = stage.transformations(factor)
    return pmap_update(make_update(stage.objective(vae), optimizers, stage.ema, AXIS))


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
    ``stage.fresh`` excepted, and no statistics that this stage has no use for."""
    if carried is None:
        return state
    params, mutables = dict(state.params), dict(state.mutables)
    for group in (params.keys() & carried.params.keys()) - set(stage.fresh):
        params[group] = carried.params[group]
        given = carried.mutables[group]
        mutables[group] = {k: given.get(k, own) for k, own in mutables[group].items()}

    def begin(params: Params) -> tuple[Params, Params]:
        opt = {g: tx.init(params[g]) for g, tx in stage.transformations().items()}
        return opt, {g: stage.ema.init(params[g]) for g in stage.averaged}

    opt, ema = evaluate(begin, params)
    return state.replace(params=params, opt=opt, ema=ema, mutables=mutables)

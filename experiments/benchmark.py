"""Measure what an experiment rests on.

    python -m experiments.benchmark variance --out=runs/variance
    python -m experiments.benchmark step --out=runs/step --model=S --model=M
    python -m experiments.benchmark samplers --checkpoint=runs/demo --out=runs/samplers
    python -m experiments.benchmark likelihood --checkpoint=runs/demo \\
        --out=runs/likelihood --calls=2,5,10,20,50
    python -m experiments.benchmark data --out=runs/data --step_seconds=1 \\
        --config=configs/celeba_hq_256/quantitative.py
    python -m experiments.benchmark paths --out=runs/paths
    python -m experiments.benchmark exact --out=runs/exact
    python -m experiments.benchmark denoising --out=runs/denoising

``variance``: estimators of the time integral, their means against quadrature and
their variances, for every process, weighting and time sampler.
``step``: compile time, step time, memory and arithmetic rate of both stages' update,
against a matrix product and the published implementation; wants a quiet machine.
``samplers``: every sampler on one trained model, quality against network calls
(``docs/samplers.md``).
``likelihood``: likelihoods of one trained model at few network calls, against an
adaptive solver at tolerance 1e-6 (``docs/likelihood.md``).
``data``: images/s out of a config's pipeline, against what its stages consume
(``docs/data.md``).
``paths``: a picture of data and velocities that diffuse and come back, with the exact
score (``docs/cld.md``).
``exact``: samplers of that score, their samples against the data (``docs/cld.md``).
``denoising``: how far the steps of a chain are from Normal, by their number
(``docs/ddgan.md``).
"""

import pathlib
import sys
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from experiments.flag_errors import parse_flags
from experiments.trust_flag import trusted
from lsgm.benchmarks import data as reading
from lsgm.benchmarks import denoising as chains
from lsgm.benchmarks import exact_samplers, samplers_report
from lsgm.benchmarks import likelihood as solvers
from lsgm.benchmarks import paths as walks
from lsgm.benchmarks import samplers as tournament
from lsgm.benchmarks import step as steps
from lsgm.benchmarks import variance as estimators
from lsgm.benchmarks.mixture import NormalMixture
from lsgm.config import ConfigError
from lsgm.evaluation.subject import EvaluationRun, Subject
from lsgm.runs import experiment
from lsgm.runs.measure import subject_of
from lsgm.runs.restore import restore
from lsgm.training.checkpoints import CheckpointError

_OUT = flags.DEFINE_string("out", None, "Folder to write to.", required=True)
_BATCHES = flags.DEFINE_integer(
    "batches", 2000, "variance: batches per estimator.", lower_bound=2
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 64, "variance: latents per batch.", lower_bound=1
)
_T_MIN = flags.DEFINE_float(
    "t_min", 1e-2, "variance: start of the integral.", lower_bound=0, upper_bound=1
)
_MODELS = flags.DEFINE_multi_enum(
    "model", ["S", "M"], [*steps.MODELS], "step: which sizes; may be repeated."
)
_STAGES = flags.DEFINE_multi_enum(
    "stage", ["vae", "lsgm"], ["vae", "lsgm"], "step: which stages; may be repeated."
)
_STEPS = flags.DEFINE_integer("steps", 15, "step: timed steps.", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 2, "step: CPU cores to use.", lower_bound=1)
_PROFILE = flags.DEFINE_string("profile", None, "step: folder for profiler traces.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "samplers: a workdir, a stage's folder, or a checkpoint."
)
_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "data: the config. samplers: one whose data and evaluation replace the "
    "checkpoint's.",
    lock_config=True,
)
_SEEDS = flags.DEFINE_integer("seeds", 5, "samplers, exact: rounds.", lower_bound=2)
_NUM = flags.DEFINE_integer(
    "num_samples",
    100,
    "samplers: of each entry in a round, in one batch. likelihood: held-out examples.",
    50,
)
_CALLS = flags.DEFINE_list(
    "calls",
    [str(number) for number in tournament.CALLS],
    "samplers, likelihood: network calls of what runs on a fixed grid.",
)
_DRAWS = flags.DEFINE_integer(
    "draws",
    5,
    "samplers: draws of each training image's pixels, where they are binarised, for "
    "the aggregate posterior.",
    lower_bound=1,
)

_STEP_SECONDS = flags.DEFINE_float(
    "step_seconds", None, "data: seconds an update, on all devices.", lower_bound=1e-9
)
_HOSTS = flags.DEFINE_integer(
    "hosts", 1, "data: machines that share a batch.", lower_bound=1
)
_SECONDS = flags.DEFINE_float("seconds", 10.0, "data: timed.", lower_bound=0)


def variance(out: pathlib.Path) -> str:
    """Write ``variance.md`` and ``variance.csv``."""
    setting = (_BATCHES.value, _BATCH_SIZE.value, _T_MIN.value)
    found = list(estimators.rows(*setting))
    text = estimators.markdown(found, *setting)
    estimators.write(found, text, out)
    return text


def step(out: pathlib.Path) -> str:
    """Write ``step.md`` and ``step.json``."""
    steps.compile_anew()
    steps.limit_threads(_THREADS.value)
    found = []
    for model in _MODELS.value:
        for stage in _STAGES.value:
            trace = _PROFILE.value and pathlib.Path(_PROFILE.value) / f"{model}-{stage}"
            row = steps.time_stage(model, stage, _STEPS.value, trace or None)
            found.append(row)
    text = steps.markdown(found)
    steps.write(found, text, out)
    return text


def _subject() -> Subject:
    """The model that a benchmark is of."""
    if _CHECKPOINT.value is None:
        raise ConfigError("checkpoint", None, "name the model to compare them on")
    path = pathlib.Path(_CHECKPOINT.value)
    restored = restore(path, config=_CONFIG.value, trust=trusted())
    experiment.check_data(restored.experiment)
    return subject_of(restored, seed=0)


def _calls() -> tuple[int, ...]:
    calls = tuple(sorted({int(number) for number in _CALLS.value}))
    if calls[0] < 1:
        raise ConfigError("calls", calls, "at least 1 each")
    return calls


def likelihood(out: pathlib.Path) -> str:
    """Write ``likelihood.md`` and ``likelihood.json``."""
    try:
        run, num = EvaluationRun(_subject(), seed=0), _NUM.value
        with experiment.name_data_keys(run.subject.data):
            found = []
            for row in solvers.measure(run, num, min(num, 100), _calls()):
                print(f"{row.entry}: {row.nfe:g} calls", flush=True)
                found.append(row)
    except (ConfigError, CheckpointError) as error:
        sys.exit(f"error: {error}")
    except ValueError as error:
        sys.exit(f"error: {ConfigError('checkpoint', _CHECKPOINT.value, str(error))}")
    text = solvers.markdown(found, run.subject.data.unit, num)
    solvers.write(found, text, out)
    return text


def samplers(out: pathlib.Path) -> str:
    """Write ``samplers.md``, ``.csv``, ``.json``, ``.png`` and ``.html``."""
    try:
        subject, calls = _subject(), _calls()
        settings = tournament.Settings(
            seeds=_SEEDS.value,
            num_samples=_NUM.value,
            calls=calls,
            num_draws=_DRAWS.value,
        )
        with experiment.name_data_keys(subject.data):
            rows, notes = tournament.play(subject, settings)
    except (ConfigError, CheckpointError) as error:
        sys.exit(f"error: {error}")
    card = samplers_report.card(subject, settings)
    return samplers_report.write(rows, card, notes, out)


def data(out: pathlib.Path) -> str:
    """Write ``data.md`` and ``data.json``."""
    try:
        if _CONFIG.value is None or _STEP_SECONDS.value is None:
            raise ConfigError("", None, "data wants --config and --step_seconds")
        described = experiment.described(_CONFIG.value)
        with experiment.name_data_keys(described.data):
            rates = reading.measure(described.data, _SECONDS.value)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    setting: Any = dict(step_seconds=_STEP_SECONDS.value, hosts=_HOSTS.value)
    sizes = {name: s.batch_size for name, s in described.stages.items()}
    found = reading.needs(rates, sizes, **setting)
    text = reading.markdown(rates, found, **setting)
    reading.write(rates, found, text, out)
    return text


def paths(out: pathlib.Path) -> str:
    """Write ``paths.png``."""
    walks.write(walks.draw(NormalMixture(), seed=0), out)
    return f"wrote {out / 'paths.png'}"


def exact(out: pathlib.Path) -> str:
    """Write ``exact.md`` and ``exact.json``."""
    mixture, size = NormalMixture(), dict(num=10_000, rounds=_SEEDS.value)
    found = list(exact_samplers.accuracies(mixture, (50, 150, 500), **size))
    text = exact_samplers.markdown(found, mixture, **size)
    exact_samplers.write(found, text, out)
    return text


def denoising(out: pathlib.Path) -> str:
    """Write ``denoising.md``, ``.json`` and ``.png``."""
    mixture = NormalMixture()
    found = [
        chains.measure(mixture, schedule, num_steps)
        for num_steps in chains.STEPS
        for schedule in chains.SCHEDULES
    ]
    text = chains.markdown(found)
    published = [row for row in found if row.schedule == "published"]
    chains.write(found, text, chains.draw(mixture, published), out)
    return text


COMMANDS = {
    "variance": variance,
    "step": step,
    "samplers": samplers,
    "likelihood": likelihood,
    "data": data,
    "paths": paths,
    "exact": exact,
    "denoising": denoising,
}


def main(argv: list[str]) -> None:
    """Run the subcommand and print its table."""
    if len(argv) != 2 or argv[1] not in COMMANDS:
        raise app.UsageError(f"name one of {', '.join(COMMANDS)}, not {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    print(COMMANDS[argv[1]](pathlib.Path(_OUT.value)))


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)

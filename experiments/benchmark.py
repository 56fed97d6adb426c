"""Measure what an experiment rests on.

    python -m experiments.benchmark variance --out=runs/variance
    python -m experiments.benchmark step --out=runs/step --model=S --model=M

``variance``: estimators of the time integral, their means against quadrature and
their variances, for every process, weighting and time sampler.
``step``: compile time, step time, memory and arithmetic rate of both stages' update,
against a matrix product and the published implementation; wants a quiet machine.
"""

import pathlib

from absl import app, flags, logging

from experiments import benchmark_step, benchmark_variance

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
    "model", ["S", "M"], [*benchmark_step.MODELS], "step: which sizes; may be repeated."
)
_STAGES = flags.DEFINE_multi_enum(
    "stage", ["vae", "lsgm"], ["vae", "lsgm"], "step: which stages; may be repeated."
)
_STEPS = flags.DEFINE_integer("steps", 15, "step: timed steps.", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 2, "step: CPU cores to use.", lower_bound=1)
_PROFILE = flags.DEFINE_string("profile", None, "step: folder for profiler traces.")


def variance(out: pathlib.Path) -> str:
    """Write ``variance.md`` and ``variance.csv``."""
    setting = (_BATCHES.value, _BATCH_SIZE.value, _T_MIN.value)
    found = list(benchmark_variance.rows(*setting))
    text = benchmark_variance.markdown(found, *setting)
    benchmark_variance.write(found, text, out)
    return text


def step(out: pathlib.Path) -> str:
    """Write ``step.md`` and ``step.json``."""
    benchmark_step.limit_threads(_THREADS.value)
    found = []
    for model in _MODELS.value:
        for stage in _STAGES.value:
            trace = _PROFILE.value and pathlib.Path(_PROFILE.value) / f"{model}-{stage}"
            row = benchmark_step.time_stage(model, stage, _STEPS.value, trace or None)
            found.append(row)
    text = benchmark_step.markdown(found)
    benchmark_step.write(found, text, out)
    return text


COMMANDS = {"variance": variance, "step": step}


def main(argv: list[str]) -> None:
    """Run the subcommand and print its table."""
    if len(argv) != 2 or argv[1] not in COMMANDS:
        raise app.UsageError(f"name one of {', '.join(COMMANDS)}, not {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    print(COMMANDS[argv[1]](pathlib.Path(_OUT.value)))


if __name__ == "__main__":
    app.run(main)

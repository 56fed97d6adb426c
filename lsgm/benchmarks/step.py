"""Time the update of each stage, as training runs it, against a matrix product.

Seconds alone say little: the same step varies by 1.6 between quiet runs of one
machine. So a square matrix product is timed in the same run, and steps are compared
by seconds times that product's rate: the work that the machine could have done.
"""

import dataclasses
import importlib
import json
import math
import os
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.evaluation.timing import time_calls
from lsgm.files import write_file
from lsgm.planning.peak import peak_bytes, reset_peak
from lsgm.reports.markdown import markdown_table
from lsgm.runs.experiment import Experiment, described
from lsgm.runs.train import initial_state, mapped_update
from lsgm.training.packing import pack_state
from lsgm.training.parallel import pmap_update, replicate, split_over_devices

MODELS = {
    "S": ("configs.benchmark.small", "full"),
    "M": ("configs.benchmark.medium", "full"),
    "tiny": ("configs.benchmark.small", "smoke"),
}
MATMUL_SIZE = 2048
PROFILED_STEPS = 3


@dataclasses.dataclass(frozen=True)
class Published:
    """The published PyTorch implementation on two quiet CPU cores, same model.

    Attributes:
      seconds: per step: middle, least, most of several windows' medians.
      megabytes: the process's peak memory.
    """

    seconds: tuple[float, float, float]
    megabytes: int


PUBLISHED = {
    ("S", "vae"): Published((0.34, 0.31, 0.53), 690),
    ("S", "lsgm"): Published((0.59, 0.52, 0.60), 749),
    ("M", "vae"): Published((0.35, 0.34, 0.39), 709),
    ("M", "lsgm"): Published((0.80, 0.74, 0.92), 899),
}
# GFLOP/s of the matrix product in those runs, least and most.
PUBLISHED_MATMUL = (107.0, 177.0)


@dataclasses.dataclass(frozen=True)
class StepTime:
    """One stage's update.

    Attributes:
      init_seconds: making the first state.
      compile_seconds: tracing and compiling.
      seconds: per step: median, least, most.
      gflop: floating-point operations of one step that XLA counts, 1e9.
      matmul_gflops: rate of the matrix product, GFLOP/s.
      xla_megabytes: arguments and temporaries of the compiled step.
      peak_megabytes: high-water mark of the process during the steps, or of the
        device where it keeps count; None where neither is known.
      leaves: arrays that the state is passed in; host_seconds: median that the host
        needs to pass so many through a mapped call that computes nothing.
      healthy: no update was skipped.
    """

    model: str
    stage: str
    batch_size: int
    parameters: int
    init_seconds: float
    compile_seconds: float
    seconds: tuple[float, float, float]
    gflop: float
    matmul_gflops: float
    xla_megabytes: float
    peak_megabytes: float | None
    leaves: int
    host_seconds: float
    healthy: bool

    @property
    def gflops(self) -> float:
        """Achieved GFLOP/s."""
        return self.gflop / self.seconds[0]

    @property
    def ratio(self) -> tuple[float, float, float] | None:
        """Time over the published implementation's, each in units of its own
        machine's matrix product: middle, and the range of that one's windows."""
        published = PUBLISHED.get((self.model, self.stage))
        if published is None:
            return None
        middle, least, most = published.seconds
        slow, fast = PUBLISHED_MATMUL
        work = self.seconds[0] * self.matmul_gflops
        return (
            work / (middle * math.sqrt(slow * fast)),
            work / (most * fast),
            work / (least * slow),
        )


def load(model: str) -> Experiment:
    """Build a model of ``MODELS``; its data are not opened."""
    module, variant = MODELS[model]
    return described(importlib.import_module(module).get_config(variant))


def compile_anew() -> None:
    """Take no program from the cache of compiled ones: its time is wanted."""
    jax.config.update("jax_enable_compilation_cache", False)


def limit_threads(num: int) -> None:
    """Let XLA use ``num`` cores; has to come before JAX starts."""
    cores = sorted(os.sched_getaffinity(0))[:num]
    os.sched_setaffinity(0, cores)


def matmul_gflops(repeats: int) -> float:
    """Rate of a square float32 matrix product, GFLOP/s."""
    a = jnp.ones((MATMUL_SIZE, MATMUL_SIZE), jnp.float32)
    product = jax.jit(jnp.matmul)
    timing, _ = time_calls(lambda i: product(a, a), repeats)
    return 2 * MATMUL_SIZE**3 / timing.median / 1e9


def time_stage(
    model: str, stage_name: str, steps: int, profile: pathlib.Path | None = None
) -> StepTime:
    """Compile a stage's mapped update and time it on random images.

    Args:
      steps: timed steps, after one that warms up.
      profile: folder for a trace of a few more steps.
    """
    made = load(model)
    stage = made.stages[stage_name]
    start = time.perf_counter()
    state = replicate(pack_state(initial_state(stage, made.vae, jax.random.key(0))))
    init_seconds = time.perf_counter() - start
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    batch = split_over_devices({"levels": _levels(made, stage.batch_size)})
    mapped = mapped_update(stage, made.vae)
    start = time.perf_counter()
    update = mapped.lower(state, batch).compile()
    compile_seconds = time.perf_counter() - start

    def call(_: int) -> dict[str, Any]:
        nonlocal state
        state, metrics = update(state, batch)  # donates the old state
        return metrics

    matmul = [matmul_gflops(steps)]
    reset_peak()
    timing, metrics = time_calls(call, steps)
    peak = peak_megabytes()
    matmul.append(matmul_gflops(steps))
    if profile is not None:
        with jax.profiler.trace(str(profile)):
            jax.block_until_ready([call(i) for i in range(PROFILED_STEPS)])
    memory = update.memory_analysis()
    return StepTime(
        model=model,
        stage=stage_name,
        batch_size=stage.batch_size,
        parameters=parameters,
        init_seconds=init_seconds,
        compile_seconds=compile_seconds,
        seconds=(timing.median, min(timing.repeats), max(timing.repeats)),
        gflop=update.cost_analysis()["flops"] / 1e9,
        matmul_gflops=sum(matmul) / 2,
        xla_megabytes=(memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e6,
        peak_megabytes=peak,
        leaves=len(jax.tree.leaves(state)),
        host_seconds=host_seconds(state),
        healthy=not any(float(m["skipped"]) for m in metrics),
    )


def host_seconds(state: Any, repeats: int = 50) -> float:
    """Median seconds of the host for a mapped call that takes a state of this form,
    of single numbers, and gives it back."""
    passed = replicate(jax.tree.map(lambda _: np.float32(0), state))
    call = pmap_update(lambda state, batch: (state, ()))
    batch = np.zeros((jax.local_device_count(), 1), np.float32)

    def once(_: int) -> Any:
        nonlocal passed
        passed, _ = call(passed, batch)  # donates what it takes
        return passed

    return time_calls(once, repeats)[0].median


def peak_megabytes() -> float | None:
    """High-water mark of the device's memory, or else of the process's."""
    stats = jax.devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use", peak_bytes())
    return None if peak is None else peak / 1e6


def markdown(found: list[StepTime]) -> str:
    """A table, a row for each stage, and how to read it."""
    header = [
        "model",
        "stage",
        "batch",
        "first state, s",
        "compile, s",
        "step, s (range)",
        "GFLOP/s",
        "of matmul",
        "host, ms (leaves)",
        "memory: XLA, peak, MB",
        "time / published (range)",
    ]
    lines = [
        f"{jax.device_count()} x {jax.devices()[0].device_kind}, "
        f"{len(os.sched_getaffinity(0))} threads, jax {jax.__version__}, float32; "
        f"matrix product of {MATMUL_SIZE}: "
        + ", ".join(f"{row.matmul_gflops:.0f}" for row in found)
        + " GFLOP/s",
        "",
        *markdown_table(header, [_cells(row) for row in found], texts=2),
        "",
        "The last column is in units of each run's own matrix product; a ratio under "
        "about 1.5 is noise.",
    ]
    return "\n".join(lines) + "\n"


def write(found: list[StepTime], text: str, folder: pathlib.Path) -> None:
    """``step.md`` and ``step.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "step.md", text)
    rows = [
        dataclasses.asdict(row) | {"gflops": row.gflops, "ratio": row.ratio}
        for row in found
    ]
    write_file(folder / "step.json", json.dumps(rows, indent=2) + "\n")


def _levels(made: Experiment, batch_size: int) -> np.ndarray:
    shape = (batch_size, *made.vae.data_shape)
    top = made.vae.likelihood.max_level
    return np.random.default_rng(0).integers(0, top + 1, shape, dtype=np.uint8)


def _cells(row: StepTime) -> list[str]:
    seconds = "{:.3f} ({:.3f} to {:.3f})".format(*row.seconds)
    published = PUBLISHED.get((row.model, row.stage))
    peak = "?" if row.peak_megabytes is None else f"{row.peak_megabytes:.0f}"
    memory = f"{row.xla_megabytes:.0f}, {peak}"
    ratio = ""
    if published is not None and row.ratio is not None:
        memory += f" (published: {published.megabytes})"
        ratio = "{:.2f} ({:.2f} to {:.2f})".format(*row.ratio)
    return [
        row.model,
        row.stage,
        str(row.batch_size),
        f"{row.init_seconds:.1f}",
        f"{row.compile_seconds:.1f}",
        seconds if row.healthy else f"{seconds}; updates were skipped",
        f"{row.gflops:.1f}",
        f"{row.gflops / row.matmul_gflops:.2f}",
        f"{1e3 * row.host_seconds:.2f} ({row.leaves})",
        memory,
        ratio,
    ]

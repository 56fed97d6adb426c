"""Strict settings for the whole suite: two devices, checked keys, ranks, dtypes."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Threads that wait for their share of a small matrix take the cores from the other
# worker: the two-sample tests take nine times as long with them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Thousands of programs take less time to compile than to read.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

# Before that of JAX, which then finds where compiled programs are kept.
import experiments  # noqa: F401, I001
import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_default_matmul_precision", "highest")


@pytest.fixture
def x64():
    """64-bit arithmetic for tests of mathematics."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> pathlib.Path:
    """Workdir of the tiny experiment, trained to its end in one go; read only."""
    from tests import commands

    folder = tmp_path_factory.mktemp("runs")
    words = ["experiments.train", commands.TINY, f"--workdir={folder / 'whole'}"]
    commands.run(words, folder / "log.txt")
    return folder / "whole"


def golden_dir() -> pathlib.Path:
    """Folder of the golden fixtures (``LSGM_GOLDEN_DIR``)."""
    default = pathlib.Path(__file__).parents[1] / "../shared/golden"
    return pathlib.Path(os.environ.get("LSGM_GOLDEN_DIR", default)).resolve()

"""Strict settings for the whole suite: two devices, checked keys, ranks, dtypes."""

import os
import pathlib
import shutil

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Threads that wait for their share of a small matrix take the cores from the other
# worker: the two-sample tests take nine times as long with them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# JAX keeps what takes long to compile, for other processes and later runs. Its keys
# hold the versions, the flags and the host's processor. (JAX's own limit of the size
# is of no use here: one process that is killed while it writes ends all writing.)
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
        "lsgm",
        "tests",
    ),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

import jax
import pytest

MAX_CACHE = 2 * 1024**3  # bytes

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_default_matmul_precision", "highest")


def pytest_sessionstart(session) -> None:
    """Empty this suite's folder of compiled programs when it has grown too large."""
    folder = pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    is_worker = hasattr(session.config, "workerinput")
    if is_worker or folder.parts[-2:] != ("lsgm", "tests"):
        return
    if sum(f.stat().st_size for f in folder.glob("*")) > MAX_CACHE:
        shutil.rmtree(folder)


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


def golden_files(pattern: str) -> list:
    """Test parameters for the fixtures that match, named by file; when there are
    none, one parameter that skips and says so."""
    files = sorted(golden_dir().glob(pattern))
    if not files:
        reason = f"no {pattern} in {golden_dir()} (set LSGM_GOLDEN_DIR)"
        return [pytest.param(None, id=pattern, marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(f, id=f.name) for f in files]

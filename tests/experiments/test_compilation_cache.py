"""What a command compiled, the next one finds."""

import os
import pathlib
import subprocess
import sys

import pytest

from experiments import compilation_cache
from tests.commands import ROOT, TINY


def say_folder(**environment: str) -> list[str]:
    """Folder and least compile time that JAX has once the commands are imported."""
    code = (
        "import experiments, jax\n"
        "print(jax.config.jax_compilation_cache_dir)\n"
        "print(jax.config.jax_persistent_cache_min_compile_time_secs)"
    )
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_jax_gets_a_folder_of_the_user_s_cache(tmp_path):
    cores = len(os.sched_getaffinity(0))
    expected = tmp_path / "lsgm" / f"programs-{cores}-cores"
    assert say_folder(XDG_CACHE_HOME=str(tmp_path)) == [str(expected), "0.0"]


def test_a_job_on_fewer_cores_has_programs_of_its_own(tmp_path):
    """It inherits the variable that the study's process set for itself."""
    base, cores = tmp_path / "lsgm", len(os.sched_getaffinity(0))
    inherited = {compilation_cache.FOLDER: str(base / f"programs-{cores + 1}-cores")}
    found = say_folder(XDG_CACHE_HOME=str(tmp_path), **inherited)
    assert found[0] == str(base / f"programs-{cores}-cores")


def test_the_environment_has_its_way(tmp_path):
    moved = {
        compilation_cache.FOLDER: str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "2",
    }
    assert say_folder(**moved) == [str(tmp_path), "2.0"]


def test_the_oldest_are_dropped(tmp_path):
    for age in range(10):
        file = tmp_path / f"{age}"
        file.write_bytes(bytes(10))
        os.utime(file, (1000 - age, 1000 - age))
    compilation_cache.drop_oldest(tmp_path, 100)
    assert len(list(tmp_path.iterdir())) == 10
    compilation_cache.drop_oldest(tmp_path, 99)
    kept = sorted(file.name for file in tmp_path.iterdir())
    assert kept == ["0", "1", "2", "3"]
    compilation_cache.drop_oldest(tmp_path / "absent", 0)


@pytest.mark.slow
def test_the_second_run_compiles_nothing(tmp_path):
    """Training, and a draw of samples: each repeated from the start."""
    programs = tmp_path / "programs"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment[compilation_cache.FOLDER] = str(programs)

    def train_and_sample(run: pathlib.Path) -> set[str]:
        for words in (
            ["experiments.train", TINY, f"--workdir={run}"],
            ["experiments.sample", f"--checkpoint={run}", "--num_samples=4"],
        ):
            command = [sys.executable, "-m", *words]
            subprocess.run(command, cwd=ROOT, env=environment, check=True)
        return {file.name for file in programs.iterdir()}

    first = train_and_sample(tmp_path / "first")
    assert len(first) > 10
    assert train_and_sample(tmp_path / "second") == first

"""Compiled programs, kept for later commands.

JAX keeps them in the folder that ``JAX_COMPILATION_CACHE_DIR`` names, and its keys hold
the program, the versions, the flags and the kind of device. Here that folder gets a
default and a bound. Set the variable to move it; ``JAX_ENABLE_COMPILATION_CACHE=false``
switches it off. A program that calls back to the host cannot be kept; diffrax's checks
of the times at which states are saved are such calls, and are turned off.
"""

import os
import pathlib

FOLDER = "JAX_COMPILATION_CACHE_DIR"
MAX_BYTES = 2 * 1024**3


def use_cache() -> None:
    """Have JAX, which must not have been imported yet, keep programs in the user's
    cache folder, unless the environment says otherwise."""
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("EQX_ON_ERROR", "off")
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path("~/.cache").expanduser()
    # XLA divides a program for a CPU among the cores that it finds. A study's jobs
    # have fewer than the process whose environment they inherit.
    cores = len(os.sched_getaffinity(0))
    folder = pathlib.Path(base, "lsgm", f"programs-{cores}-cores")
    if (
        FOLDER in os.environ
        and pathlib.Path(os.environ[FOLDER]).parent != folder.parent
    ):
        return
    os.environ[FOLDER] = str(folder)
    # JAX's own bound of the size takes a lock: one process that is killed while it
    # writes would end all writing.
    drop_oldest(folder, MAX_BYTES)


def drop_oldest(folder: pathlib.Path, max_bytes: int) -> None:
    """Remove the oldest files down to half of ``max_bytes``, where all take more."""
    found = []
    for file in folder.glob("*"):
        try:
            found.append((file.stat().st_mtime, file.stat().st_size, file))
        except FileNotFoundError:  # removed by another process
            continue
    total = sum(size for _, size, _ in found)
    if total <= max_bytes:
        return
    for _, size, file in sorted(found):
        if total <= max_bytes / 2:
            return
        file.unlink(missing_ok=True)
        total -= size

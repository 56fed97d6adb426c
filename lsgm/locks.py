"""Locks on files, so that one process at a time works in a folder.

A lock is held by the operating system (``fcntl.lockf``) and names its holder in the
file. It ends with its process, however that ends, so a file that is left behind locks
nothing. Processes that the holder starts do not inherit it.
"""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from lsgm.terminal import warn

_HELD = (errno.EACCES, errno.EAGAIN)


class FolderError(RuntimeError):
    """A folder cannot be worked in; the message names it and says why."""


class InUseError(FolderError):
    """Another process works in a folder; the message names it."""


@contextlib.contextmanager
def lock_file(path: pathlib.Path, *, left_on_error: bool = False) -> Iterator[None]:
    """Hold the lock ``path`` for the block; the file is removed at its end, and a
    folder that was made for it if nothing else has come into it.

    A file system without locks gives a warning on stderr, and no protection.

    Args:
      left_on_error: leave the file, unlocked, where the block raises, so that others
        see that its holder failed (``find_abandoned``).

    Raises:
      InUseError: another process holds it.
      FolderError: the folder, or the file in it, cannot be made.
    """
    made = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path)
    except OSError as error:
        raise FolderError(
            f"{path.parent} cannot be written to ({error.strerror}); name another "
            "folder"
        ) from error
    failed = True
    try:
        yield
        failed = False
    finally:
        if not (failed and left_on_error):
            # Removed while it is held: who opened it before looks again.
            path.unlink(missing_ok=True)
        os.close(descriptor)
        if made:
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def find_abandoned(path: pathlib.Path) -> str | None:
    """Who left the lock ``path`` without removing it, killed or failed; None where it
    is held, or where there is none. Not for a lock of this process."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _say_holder(descriptor) if _is_current(descriptor, path) else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _acquire(path: pathlib.Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                holder = _say_holder(descriptor)
                os.close(descriptor)
                raise InUseError(
                    f"{path.parent} is in use by {holder}. Wait for it to end, stop "
                    f"it, or use another folder. (The lock is {path.name}.)"
                ) from error
            warn(
                f"{path} cannot be locked ({error}): see to it that no other process "
                "works in this folder"
            )
        if _is_current(descriptor, path):
            _name_holder(descriptor, path)
            return descriptor
        os.close(descriptor)  # Its last holder has removed this file.


def _is_current(descriptor: int, path: pathlib.Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _name_holder(descriptor: int, path: pathlib.Path) -> None:
    before, host = _read(descriptor), socket.gethostname()
    if before.get("host", host) != host:
        # Where hosts do not see each other's locks this one might be held.
        warn(
            f"{path} was left by {_describe(before)}; if that process still runs, stop "
            "it"
        )
    holder = {
        "host": host,
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": " ".join(sys.argv)[:200],
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _say_holder(descriptor: int) -> str:
    holder = _read(descriptor)
    return _describe(holder) if holder else "another process"


def _describe(holder: dict[str, Any]) -> str:
    return (
        f"process {holder.get('pid')} on {holder.get('host')} since "
        f"{holder.get('since')} ({holder.get('command')})"
    )


def _read(descriptor: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}

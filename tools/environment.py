"""Make ``.venv`` from the locked ``requirements.txt``, with this package in it.

    python3.11 tools/environment.py

Does nothing when the environment is there and up to date. A stamp, written last,
holds a digest of what the environment was made from: without it, what is there is
the remains of an interrupted run and is made anew; with another one, packages are
brought up to date in place. A lock makes a second process wait for the first.
"""

import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venv"
STAMP = FOLDER / "stamp"
LOCK = ROOT / ".venv.lock"
MADE_FROM = ("requirements.txt", "tools/environment.py")


def main() -> None:
    """Make the environment, or find that it is there."""
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(f"Python 3.11 or later is needed, this is {sys.version.split()[0]}")
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # pip holds the lock too: it may outlive this process when that is killed.
        os.set_inheritable(lock.fileno(), True)
        if not STAMP.exists() or STAMP.read_text() != digest():
            make()


def digest() -> str:
    """What the environment is made from: this Python, this place, these files."""
    parts = [sys.version.encode(), str(ROOT).encode()]
    parts += [(ROOT / name).read_bytes() for name in MADE_FROM]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def make() -> None:
    """Install; the stamp is gone meanwhile."""
    began = time.monotonic()
    there = STAMP.exists()
    print(f"{'updating' if there else 'making'} {FOLDER}", flush=True)
    STAMP.unlink(missing_ok=True)
    venv.create(FOLDER, clear=not there, with_pip=True)
    # Every package is pinned, so there is nothing to resolve.
    install("--no-compile", "--no-deps", "-r", "requirements.txt")
    install("--no-deps", "--no-build-isolation", "-e", ".")
    compile_packages()
    STAMP.write_text(digest())
    print(f"{FOLDER} is ready after {time.monotonic() - began:.0f} s", flush=True)


def compile_packages() -> None:
    """Write bytecode, on all cores, which pip would do on one.

    Imports would write it too, but not where ``PYTHONDONTWRITEBYTECODE`` is set, as in
    many containers: there every command would compile some 2,000 files anew.
    """
    (packages,) = FOLDER.glob("lib/python*/site-packages")
    # Some packages carry files that are not meant for this Python.
    command = [str(FOLDER / "bin/python"), "-m", "compileall", "-qq", "-j", "0"]
    subprocess.run([*command, str(packages)], close_fds=False)


def install(*args: str) -> None:
    """``pip install``; ends the process with pip's message where it fails."""
    command = [str(FOLDER / "bin/python"), "-m", "pip", "install", "--quiet"]
    command += ["--disable-pip-version-check", *args]
    if subprocess.run(command, cwd=ROOT, close_fds=False).returncode:
        sys.exit(f"error: {' '.join(command)} failed; see above")


if __name__ == "__main__":
    main()

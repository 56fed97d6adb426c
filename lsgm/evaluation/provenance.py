"""The provenance card: all that the numbers of an evaluation depend on.

A card is a flat dictionary of words and numbers. Its digest leaves out names of
folders: what is moved or copied keeps its digest, and two evaluations of one digest
give the same numbers, seconds apart.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax
import numpy as np

import lsgm

PACKAGE = pathlib.Path(lsgm.__file__).parent
PACKAGES = ("jax", "jaxlib", "flax", "diffrax", "numpy", "scipy")
NAMES_ONLY = ("title", "checkpoint", "git_commit")


def digest(card: dict[str, Any]) -> str:
    """SHA-256 over everything in the card but names of folders."""
    kept = {name: value for name, value in card.items() if name not in NAMES_ONLY}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def tree_sha256(tree: Any) -> str:
    """SHA-256 over paths, types, shapes and values of arrays, one after the other."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        array = np.ascontiguousarray(leaf)
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        found.update(f"{name} {array.dtype} {array.shape}\n".encode())
        found.update(array.data)
    return found.hexdigest()


def environment() -> dict[str, Any]:
    """Versions, sources of this package, devices, and XLA's flags."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    versions = {
        "lsgm": lsgm.__version__,
        "python": platform.python_version(),
    } | versions
    return {
        "versions": ", ".join(f"{name} {v}" for name, v in versions.items()),
        "git_commit": commit(),
        "code_sha256": code_sha256(),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


@functools.cache
def code_sha256() -> str:
    """SHA-256 over the package's Python files, committed or not."""
    found = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        found.update(f"{path.relative_to(PACKAGE)}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


@functools.cache
def commit() -> str:
    """The checkout's commit, "+ changes" where files differ from it; "" without one."""
    if not (PACKAGE.parent / ".git").exists():
        return ""

    def git(*words: str) -> str:
        command = ["git", "-C", str(PACKAGE.parent), *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changes = " + changes" if git("status", "--porcelain", "-uno") else ""
        return git("rev-parse", "HEAD") + changes
    except (OSError, subprocess.CalledProcessError):
        return ""


def provenance_of(settings: Any) -> dict[str, str]:
    """What the pieces of a settings object say of themselves, by field: hashes of an
    extractor's weights, of reference statistics."""
    pieces = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
    return {
        f"{name}_provenance": json.dumps(piece.provenance, sort_keys=True)
        for name, piece in pieces.items()
        if hasattr(piece, "provenance")
    }

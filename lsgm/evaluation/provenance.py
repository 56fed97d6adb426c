"""The provenance card: all that the numbers of an evaluation depend on.

A card is a flat dictionary of words and numbers. Its digest leaves out names of
folders: what is moved or copied keeps its digest, and two evaluations of one digest
give the same numbers, seconds apart.
"""

import ast
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
# Folders of code that comes before a number or after it: comparing runs, planning
# them, showing what was found.
NO_NUMBERS = ("benchmarks", "planning", "reports", "studies")
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
    """SHA-256 over the package's code that numbers depend on, committed or not.

    ``NO_NUMBERS``, docstrings, comments and layout do not count.
    """
    return hash_code(PACKAGE)


def hash_code(package: pathlib.Path) -> str:
    """``code_sha256`` of the package in a folder."""
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] not in NO_NUMBERS:
            found.update(f"{name}\n{strip_words(path.read_text('utf-8'))}\n".encode())
    return found.hexdigest()


def strip_words(source: str) -> str:
    """The syntax tree of Python code as text, without docstrings, comments and
    layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        is_documented = isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        )
        if is_documented and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree)


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

"""Golden fixtures, found by what they hold: a file's name says nothing.

Keys are patterns: "sd/*" stands for a group of keys.
"""

import fnmatch
import functools
import pathlib

import numpy as np
import pytest

from tests.conftest import golden_dir


@functools.cache
def keys_of(path: pathlib.Path) -> frozenset[str]:
    """Names of a file's arrays."""
    with np.load(path) as arrays:
        return frozenset(arrays.files)


def holds(path: pathlib.Path, key: str) -> bool:
    """Whether the file has such a key."""
    return bool(fnmatch.filter(keys_of(path), key))


def paths_with(folder: pathlib.Path, *keys: str) -> list[pathlib.Path]:
    """Files of the folder that hold all of these, by name."""
    files = sorted(folder.glob("*.npz"))
    return [path for path in files if all(holds(path, key) for key in keys)]


def fixtures_with(*keys: str) -> list:
    """Test parameters for the fixtures that hold all of these, named by file; when
    there are none, one parameter that skips and says so."""
    found = paths_with(golden_dir(), *keys)
    return parameters([(path.name, path) for path in found], " and ".join(keys))


def parameters(cases: list, wanted: str) -> list:
    """Test parameters of (name, path or tuple that begins with one) cases, or one that
    skips for want of any. A network takes seconds to compile, so that of those with
    one only the smallest file is fast."""
    if not cases:
        reason = f"no fixture with {wanted} in {golden_dir()} (set LSGM_GOLDEN_DIR)"
        return [pytest.param(None, id=wanted, marks=pytest.mark.skip(reason=reason))]
    with_network = [path for _, value in cases if has_network(path := path_of(value))]
    smallest = min(with_network, key=lambda path: path.stat().st_size, default=None)
    return [
        pytest.param(value, id=name, marks=pytest.mark.slow)
        if (path := path_of(value)) in with_network and path != smallest
        else pytest.param(value, id=name)
        for name, value in cases
    ]


def path_of(value: pathlib.Path | tuple) -> pathlib.Path:
    """The fixture of a test parameter."""
    return value[0] if isinstance(value, tuple) else value


def has_network(path: pathlib.Path) -> bool:
    """Whether the file holds the weights of a network, or is based on one that does."""
    return holds(path, "sd/*") or holds(path, "base_file")


def base_of(path: pathlib.Path, name: str) -> pathlib.Path:
    """The file that a fixture's ``base_file`` names, in the fixture's folder."""
    base = path.with_name(name.removesuffix(".npz") + ".npz")
    if not base.exists():
        raise FileNotFoundError(f"{path.name}: its base_file {base.name} is not there")
    return base

"""Commands answer before libraries are loaded that only work needs."""

import ast
import functools

import pytest

from tests.test_layers import ROOT, module, sources, within

# A mistyped config is told within seconds: these together take as long as all else.
LATE = (
    "diffrax",
    "grain",
    "matplotlib",
    "orbax",
    "scipy",
    "jinja2",
    "lsgm.samplers.runge_kutta",
    "lsgm.samplers.step_control",
)
COMMANDS = ("train", "sample", "evaluate", "explore", "ablate", "plan")


def first_imports(tree: ast.Module) -> set[str]:
    """Dotted names that a file imports as it is loaded."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@functools.cache
def imports_of(name: str) -> frozenset[str]:
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    if not path.exists():
        return frozenset()
    return frozenset(first_imports(ast.parse(path.read_text())))


def loaded_by(name: str) -> set[str]:
    """All that loading a module of this repository loads, directly or not."""
    found, waiting = set(), [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += [one.rpartition(".")[0]] if "." in one else []
            waiting += imports_of(one)
    return found


# What a config may name is loaded for the check, too.
NAMED = [
    module(path)
    for path in sources("lsgm")
    if path.relative_to(ROOT).parts[1] not in ("benchmarks", "studies", "interop")
    and module(path) not in LATE
]


@pytest.mark.parametrize("name", [*(f"experiments.{c}" for c in COMMANDS), *NAMED])
def test_slow_libraries_are_loaded_where_they_are_used(name):
    found = {i for i in loaded_by(name) for late in LATE if within(i, late)}
    assert not found


def test_a_library_that_is_loaded_first_is_found():
    text = "import grain\n\n\ndef f():\n    import scipy\n"
    assert first_imports(ast.parse(text)) == {"grain"}

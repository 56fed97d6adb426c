"""The shape of the code: who may import whom, who owns which library, how long."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# A module imports from lower levels, and from its own folder. The longest prefix
# counts: a file can stand on another level than its folder.
LEVELS = {
    "lsgm": 0,
    "lsgm.typing": 0,
    "lsgm.moved": 0,
    "lsgm.interpreter": 1,
    "lsgm.numerics": 1,
    "lsgm.config": 1,
    "lsgm.hints": 0,
    "lsgm.files": 0,
    "lsgm.limits": 0,
    "lsgm.arrays": 1,
    "lsgm.streams": 1,
    "lsgm.locks": 1,
    "lsgm.terminal": 0,
    "lsgm.optional": 1,
    "lsgm.trust": 2,
    "lsgm.sdes": 2,
    "lsgm.distributions": 2,
    "lsgm.data": 2,
    "lsgm.statistics": 2,
    "lsgm.objectives": 3,
    "lsgm.samplers": 3,
    "lsgm.networks": 3,
    "lsgm.data_space": 3,
    "lsgm.categorical": 3,
    "lsgm.vae": 4,
    "lsgm.priors": 4,
    "lsgm.model": 5,
    "lsgm.elbo": 6,
    "lsgm.objective": 7,
    "lsgm.interop": 6,
    "lsgm.reports": 6,
    "lsgm.reports.plots": 1,
    "lsgm.training": 8,
    "lsgm.features": 8,
    "lsgm.evaluation": 9,
    "lsgm.runs": 10,
    "lsgm.benchmarks": 13,
    "lsgm.planning": 11,
    "lsgm.planning.tables": 13,
    "lsgm.studies": 12,
    "lsgm.trained": 11,
    "experiments": 14,
}
# Pure mathematics and its methods receive networks as functions.
WITHOUT_NETWORKS = ("lsgm.sdes", "lsgm.objectives", "lsgm.samplers")
OWNERS = {
    "flax.linen": ("lsgm.networks", "lsgm.vae"),
    "orbax": ("lsgm.training.checkpoints",),
    "grain": ("lsgm.data",),
    "array_record": ("lsgm.data",),
    "tensorflow_datasets": ("lsgm.data",),
    "pyarrow": ("lsgm.data.sources.parquet",),
    "lmdb": ("lsgm.data.sources.lmdb_source",),
    "google.protobuf": ("lsgm.data",),
    "diffrax": ("lsgm.samplers",),
    "tensorboardX": ("lsgm.training.writers",),
    "jax.pmap": ("lsgm.training.parallel",),
    "absl": ("experiments",),
    "safetensors": ("lsgm.interop.files",),
    "jinja2": ("lsgm.reports.templates",),
    "matplotlib.style": ("lsgm.reports.figures",),
}
# What the project does without.
ABSENT = ("torch", "torchvision", "tensorflow", "clu", "keras")
CONFIGS_IMPORT = (
    "__future__",
    "json",
    "pathlib",
    "typing",
    "ml_collections",
    "configs",
)

MAX_FILE = 400
MAX_FUNCTION = 90


def sources(*folders: str) -> list[pathlib.Path]:
    return sorted(p for f in folders for p in (ROOT / f).rglob("*.py"))


def module(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.Module) -> set[str]:
    """Dotted names that a file imports, wherever in it, and attributes of imported
    modules that it reads, such as ``jax.pmap``."""
    found, aliases = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            aliases |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
            aliases |= {
                a.asname or a.name: f"{node.module}.{a.name}" for a in node.names
            }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            base = aliases.get(node.value.id, node.value.id)
            if any(within(name, base) for name in found):
                found.add(f"{base}.{node.attr}")
    return found


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def place(name: str) -> str:
    """The entry of ``LEVELS`` that a module belongs to."""
    return max((p for p in LEVELS if within(name, p)), key=len)


def complaints(name: str, tree: ast.Module) -> list[str]:
    """What is wrong with the imports of module ``name``."""
    imported = imports(tree)
    inner = {i for i in imported if within(i, "lsgm") or within(i, "experiments")}
    found = [
        f"{name} imports {i}, of a level that is not below its own"
        for i in inner
        if place(i) not in ("lsgm", place(name))
        and LEVELS[place(i)] >= LEVELS[place(name)]
    ]
    found += [
        f"{name} imports {i}: it has to receive networks as functions"
        for i in inner
        if within(i, "lsgm.networks") and any(within(name, w) for w in WITHOUT_NETWORKS)
    ]
    found += [
        f"{name} imports {i}, which belongs to {', '.join(owners)}"
        for library, owners in OWNERS.items()
        for i in imported
        if within(i, library) and not any(within(name, owner) for owner in owners)
    ]
    return found + [
        f"{name} imports {i}: the core does without"
        for i in imported
        if any(within(i, absent) for absent in ABSENT)
    ]


@pytest.mark.parametrize("path", sources("lsgm", "experiments"), ids=module)
def test_imports_point_down_and_to_owned_libraries(path):
    assert not complaints(module(path), ast.parse(path.read_text()))


@pytest.mark.parametrize(
    "name, line",
    [
        ("lsgm.sdes.vpsde", "from lsgm.networks import layers"),
        ("lsgm.sdes.vpsde", "import lsgm.samplers.ddim"),
        ("lsgm.samplers.ddim", "from lsgm.networks.mlp import MLP"),
        ("lsgm.priors.score", "from lsgm.vae import VAE"),
        ("lsgm.training.loop", "from lsgm import evaluation"),
        ("lsgm.model", "import lsgm.elbo"),
        ("lsgm.elbo", "from flax import linen as nn"),
        ("lsgm.elbo", "from lsgm.objective import Objective"),
        ("lsgm.training.loop", "import orbax.checkpoint as ocp"),
        ("lsgm.training.step", "import jax\njax.pmap"),
        ("lsgm.training.step", "import jax as j\nj.pmap"),
        ("lsgm.training.step", "from jax import pmap"),
        ("lsgm.evaluation.measures.bound", "def f():\n    import diffrax"),
        ("lsgm.interop.layouts", "import torch"),
    ],
)
def test_wrong_imports_are_found(name, line):
    assert complaints(name, ast.parse(line))


@pytest.mark.parametrize(
    "name, line",
    [
        ("lsgm.sdes.vpsde", "import jax.numpy as jnp\njnp.pmap"),
        ("lsgm.sdes.vpsde", "from lsgm.sdes.base import SDE"),
        ("lsgm.vae", "from flax import linen\nfrom lsgm.networks import nvae"),
        ("lsgm.training.parallel", "import jax\njax.pmap"),
        ("lsgm.runs.train", "import lsgm\nfrom lsgm.training import loop"),
    ],
)
def test_right_imports_pass(name, line):
    assert not complaints(name, ast.parse(line))


@pytest.mark.parametrize("path", sources("lsgm/data"), ids=module)
def test_data_know_no_config(path):
    """Their errors name arguments; ``lsgm.runs.experiment`` adds the keys."""
    found = {
        i for i in imports(ast.parse(path.read_text())) if within(i, "lsgm.config")
    }
    assert found <= {"lsgm.config.nearest"}


def test_every_module_has_its_level():
    stray = [m for m in map(module, sources("lsgm")) if place(m) == "lsgm" != m]
    assert not stray, "give it a place in LEVELS"


@pytest.mark.parametrize("path", sources("configs"), ids=module)
def test_configs_import_neither_jax_nor_the_package(path):
    roots = {name.split(".")[0] for name in imports(ast.parse(path.read_text()))}
    assert roots <= set(CONFIGS_IMPORT)


def test_loading_the_configs_loads_no_jax():
    names = ", ".join(map(module, sources("configs")))
    code = f"import sys, {names}; print('jax' in sys.modules)"
    output = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert output == "False\n"


@pytest.mark.parametrize("path", sources("lsgm", "experiments", "configs"), ids=module)
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE
    assert not long_functions(ast.parse(text), MAX_FUNCTION)


def long_functions(tree: ast.Module, limit: int) -> list[str]:
    """Functions of more lines than the limit, each with its line: names repeat."""
    return [
        f"{node.name}, line {node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= limit
    ]


@pytest.mark.parametrize("path", sources("lsgm", "experiments", "configs"), ids=module)
def test_assertions_check_no_input(path):
    """They vanish under ``python -O``: they tell a type checker what is known."""
    assert not checking_assertions(ast.parse(path.read_text()))


def checking_assertions(tree: ast.Module) -> list[int]:
    """Lines of assertions that do more than name a type."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    return [node.lineno for node in nodes if not names_type(node.test)]


def names_type(test: ast.expr) -> bool:
    """Whether an expression is ``x is not None``, ``isinstance(...)``, or some of
    them joined by ``and``."""
    if isinstance(test, ast.BoolOp):
        return all(map(names_type, test.values))
    if isinstance(test, ast.Call):
        return isinstance(test.func, ast.Name) and test.func.id == "isinstance"
    if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.IsNot):
        return False
    return ast.dump(test.comparators[0]) == ast.dump(ast.Constant(None))


def test_an_assertion_that_checks_input_is_found():
    text = "assert x is not None and isinstance(x, A)\nassert x.weights\nassert x > 0\n"
    assert checking_assertions(ast.parse(text)) == [2, 3]


def test_a_long_function_is_found_beside_a_short_one_of_its_name():
    text = "class A:\n    def f():\n        1\n        2\n\ndef f():\n    1\n"
    assert long_functions(ast.parse(text), 2) == ["f, line 2"]
    assert not long_functions(ast.parse(text), 3)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments").glob("*.py")), ids=lambda path: path.stem
)
def test_a_command_defines_each_flag_once(path):
    """Twice is an error, but only where the command is started: its own flags meet
    those of the modules that it imports."""
    names = defined_flags(path)
    assert sorted(names) == sorted(set(names))


def test_every_class_has_a_name_of_its_own():
    places: dict[str, list[str]] = {}
    for path in sources("lsgm", "experiments"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module(path))
    assert {n: p for n, p in places.items() if len(p) > 1} == {}


def defined_flags(path: pathlib.Path) -> list[str]:
    """Names of the flags of a file and of all in its folder that it imports, directly
    or not."""
    files, waiting = set(), [path]
    while waiting:
        file = waiting.pop()
        if file not in files:
            files.add(file)
            found = imports(ast.parse(file.read_text()))
            waiting += [f for f in file.parent.glob("*.py") if imported_in(f, found)]
    return [name for file in files for name in own_flags(ast.parse(file.read_text()))]


def imported_in(path: pathlib.Path, names: set[str]) -> bool:
    return any(within(name, f"{path.parent.name}.{path.stem}") for name in names)


def own_flags(tree: ast.Module) -> list[str]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        ast.literal_eval(call.args[0])
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr.startswith("DEFINE_")
    ]


def test_flags_that_meet_by_an_import_are_found(tmp_path):
    define = "from absl import flags\nflags.DEFINE_string('out', None, '')\n"
    folder = tmp_path / "verbs"
    folder.mkdir()
    (folder / "common.py").write_text(define)
    (folder / "middle.py").write_text("from verbs.common import f\n")
    (folder / "alone.py").write_text(define)
    (folder / "both.py").write_text("from verbs import middle\n" + define)
    assert defined_flags(folder / "alone.py") == ["out"]
    assert defined_flags(folder / "both.py") == ["out", "out"]

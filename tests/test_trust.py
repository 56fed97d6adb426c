"""What a stored config may name, before anything is imported."""

import os
import pathlib
import subprocess
import sys

import pytest
from ml_collections import ConfigDict

from lsgm.config import ConfigError, build
from lsgm.trust import packages_of, require_trusted

ROOT = pathlib.Path(__file__).parents[1]
OWN = {"target": "lsgm.sdes.vpsde:VPSDE"}
FOREIGN = {"target": "mine.parts:Piece"}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A package that can be imported, and that says whether it was."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        f"open({str(tmp_path / 'imported')!r}, 'w').close()\n"
    )
    (folder / "parts.py").write_text(
        "import dataclasses\n\n"
        "@dataclasses.dataclass\nclass Piece:\n    size: int = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "imported"
    for name in ("mine", "mine.parts"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (FOREIGN, "target"),
        ({"prior": {**OWN, "sde": FOREIGN}}, "prior.sde.target"),
        ({"measures": [OWN, FOREIGN]}, "measures.1.target"),
        ({"stages": {"vae": {"deep": ({"er": [FOREIGN]},)}}}, "stages.vae.deep.0.er.0"),
        ({"sde": {**OWN, "beta_0": FOREIGN}}, "sde.beta_0.target"),
    ],
)
def test_other_packages_are_refused_wherever_they_are_named(config, key, mine):
    with pytest.raises(ConfigError) as error:
        require_trusted(config)
    assert error.value.key.startswith(key)
    for part in ("mine.parts:Piece", "would run code", "--trust=mine"):
        assert part in str(error.value)
    assert not mine.exists()


@pytest.mark.parametrize("trust", [("mine",), ("mine.parts",), ("other", "mine")])
def test_trusted_packages_pass(trust, mine):
    require_trusted({"a": FOREIGN, "b": OWN}, trust)
    assert build(FOREIGN).size == 1


@pytest.mark.parametrize("trust", [(), ("min",), ("mine.part",), ("parts",)])
def test_trust_is_of_whole_names(trust):
    with pytest.raises(ConfigError, match="--trust=mine"):
        require_trusted(FOREIGN, trust)


@pytest.mark.parametrize(
    "target",
    ["lsgmx.sdes:A", "os:system", ".sdes:A", "", "LSGM.sdes:A", ["lsgm"], {"a": 1}],
)
def test_what_only_resembles_our_own_is_refused(target):
    with pytest.raises(ConfigError):
        require_trusted({"sde": {"target": target}})


@pytest.mark.parametrize("name", ["$(touch x)", "a b", "\x1b[31m", "x; y", ""])
def test_what_is_no_name_is_not_advised_to_paste(name):
    with pytest.raises(ConfigError, match="no package has such a name") as error:
        require_trusted({"target": f"{name}:X"})
    assert "--trust" not in str(error.value) and "\x1b" not in str(error.value)


def test_errors_of_long_values_are_short():
    for value in ("x" * 10**5, tuple(range(10**5))):
        assert len(str(ConfigError("key", value, "expected int"))) < 1100


def test_packages_of_a_config_are_those_to_trust():
    config = {"a": [FOREIGN, {"target": "also.x:Y"}], "b": OWN}
    assert packages_of(config) == packages_of(ConfigDict(config)) == ("also", "mine")
    require_trusted(config, packages_of(config))


@pytest.mark.parametrize(
    "target",
    [
        "lsgm.config:importlib.import_module",
        "lsgm.vae:jax.numpy",
        "lsgm.config:build",
        "lsgm.config:ConfigDict",
        "lsgm.trust:ConfigError",
        "lsgm.runs.train:pathlib",
    ],
)
def test_a_target_is_a_dataclass_of_its_module(target):
    with pytest.raises(ConfigError, match="expected|allowed are"):
        build({"target": target})


def test_a_dataclass_that_is_only_imported_there_is_refused(mine):
    """A module hands out what it has imported under its own name."""
    (mine.parent / "hands_out.py").write_text("from lsgm.sdes.vpsde import VPSDE\n")
    expected = "only imported there: name lsgm.sdes.vpsde:VPSDE"
    with pytest.raises(ConfigError, match=expected):
        build({"target": "hands_out:VPSDE"})


def test_the_working_directory_hides_no_package(tmp_path):
    """Python puts it first; a folder of somebody else's must not stand for lsgm."""
    for name in ("lsgm", "jax"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('run')\n")
    (tmp_path / "mine.py").touch()
    code = "import experiments, lsgm, mine; print(lsgm.__file__, mine.__file__)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    own = ROOT / "lsgm" / "__init__.py"
    assert ran.stdout.split() == [str(own), str(tmp_path / "mine.py")], ran.stderr

"""A checkpoint imports nothing but this package and what the user trusts."""

import json
import pathlib
import sys

import pytest

from lsgm.config import ConfigError
from lsgm.evaluation import compare
from lsgm.interop import files
from lsgm.runs import exchange
from lsgm.runs.restore import restore
from lsgm.training import checkpoints
from tests.interop.published_run import run

SOURCE = """
import dataclasses, pathlib
from typing import ClassVar

pathlib.Path(__file__).with_name("imported").touch()

@dataclasses.dataclass(frozen=True, kw_only=True)
class Mine:
    prepared: ClassVar[bool] = True
    def splits(self): return ("train", "test")
    def open(self, split): raise NotImplementedError
"""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> pathlib.Path:
    """An imported run whose checkpoint names a data source of another package."""
    folder = tmp_path_factory.mktemp("stored")
    files.write(folder / "run.npz", run())
    exchange.import_file(folder / "run.npz", folder / "run")
    step = checkpoints.find(folder / "run")
    config = checkpoints.describe(step)["config"]
    config["data"]["source"] = {"target": "foreign_source:Mine"}
    checkpoints.replace_config(step, config)
    return folder / "run"


@pytest.fixture
def imported(workdir, monkeypatch):
    """The file that is there once the source's module was imported."""
    folder = workdir.parent
    (folder / "foreign_source.py").write_text(SOURCE)
    (folder / "imported").unlink(missing_ok=True)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    yield folder / "imported"
    sys.modules.pop("foreign_source", None)


def test_a_checkpoint_imports_no_package_that_is_not_trusted(workdir, imported):
    said = r"config\.data\.source\.target = 'foreign_source:Mine'.*--trust=foreign_s"
    with pytest.raises(ConfigError, match=said):
        restore(workdir)
    assert not imported.exists()


def test_a_trusted_package_is_imported(workdir, imported):
    restored = restore(workdir, trust=["foreign_source"])
    assert type(restored.experiment.data.source).__name__ == "Mine"
    assert imported.exists()


def test_what_the_users_config_replaces_is_not_looked_at(workdir, imported):
    step = checkpoints.find(workdir)
    config = json.loads((workdir / "config.json").read_text())
    assert restore(step, config=config).experiment.data.source is not None
    assert not imported.exists()
    config["data"]["source"] = {"target": "foreign_source:Mine"}
    restored = restore(step, config=config)
    assert type(restored.experiment.data.source).__name__ == "Mine"


def test_arguments_of_a_published_file_name_no_classes(imported, tmp_path):
    piece = {"target": "foreign_source:Mine"}
    for value in (piece, [[piece]]):
        changed = run()._replace(args={**run().args, "dropout": value})
        files.write(tmp_path / "run.safetensors", changed)
        with pytest.raises(ValueError, match="argument 'dropout' holds a dictionary"):
            exchange.import_file(tmp_path / "run.safetensors", tmp_path / "run")
    assert not imported.exists()


def test_an_evaluation_imports_no_measure_that_is_not_trusted(imported, tmp_path):
    words = {
        "mine": {},
        "card": {"title": "x"},
        "measures": {"mine": "foreign_source:M"},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(words))
    with pytest.raises(compare.CompareError, match="measures.mine.*--trust=foreign"):
        compare.read(tmp_path)
    assert not imported.exists()
    with pytest.raises(compare.CompareError, match="allowed are Mine"):
        compare.read(tmp_path, ["foreign_source"])

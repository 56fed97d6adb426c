"""The config that ``docs/text.md`` shows trains, samples and is measured."""

import json
import pathlib
import re

import jax
import numpy as np
import pytest

from lsgm.data.preparation import text_lines
from lsgm.evaluation import sampling
from lsgm.runs import experiment, restore, train
from lsgm.runs import measure as evaluation
from lsgm.streams import Use, stream

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "text.md"
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
ROOT = re.search(r'root="([^"]*)"', CODE)


def lines(num):
    """Different names, each of a few letters."""
    rng = np.random.default_rng(0)
    names = ["".join(rng.choice(list("aeioubdkl"), 4 + i % 9)) for i in range(num)]
    return dict.fromkeys(name.replace("aa", "a b") for name in names)


def prepared(folder, variant):
    """The page's config, on lines of our own."""
    made = dict.fromkeys(lines(200), "")
    parts = text_lines.divide(made, {"test": 30, "validation": 30})
    text_lines.write(folder / "names", parts, [], {})
    assert ROOT is not None
    scope = {}
    exec(CODE.replace(ROOT.group(1), str(folder / "names")), scope)
    return scope["get_config"](variant)


@pytest.mark.parametrize("variant", ["smoke", "full"])
def test_the_config_builds(variant, tmp_path):
    made = experiment.described(prepared(tmp_path, variant))
    assert made.data.num_examples("train") == 140
    for stage in made.stages.values():
        params, _ = jax.eval_shape(stage.objective(made.vae).init, jax.random.key(0))
        assert "vae" in params


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    config = prepared(folder, "smoke")
    train.train(experiment.from_config(config), config, folder / "run")
    evaluation.measure(restore.restore(folder / "run"), seed=0, out=folder / "run")
    return folder / "run"


@pytest.mark.slow
def test_it_is_measured_per_character_beside_ngrams(workdir):
    metrics = json.loads((workdir / "metrics.json").read_text())
    bound = metrics["bound"]
    nats, bits = bound["nelbo"]["nats"], bound["bits_per_char"]
    with np.load(workdir / "per_example.npz") as file:
        assert file["bound/nelbo"].shape == file["bound/1-gram nats"].shape == (8,)
    restored = restore.restore(workdir)
    data = restored.experiment.data
    units = data.units({"levels": data.open("test").codes[:8]})
    assert bits == pytest.approx(nats / units.mean() / np.log(2))
    assert bits == bound["model"]["bits_per_char"]
    assert bound["unit"] == "char" and set(bound["baselines"]) == {
        "independent places",
        "1-gram",
        "2-gram",
    }
    page = (workdir / "report.html").read_text()
    assert "What the bound says" in page and "Held-out texts in their place" in page
    assert data.texts("test")[8] in page


@pytest.mark.slow
def test_reconstructions_and_samples_are_drawn_as_lines(workdir):
    for stage in ("vae", "lsgm"):
        names = [p.name for p in (workdir / stage / "samples").iterdir()]
        assert "00000002.png" in names


@pytest.mark.slow
def test_samples_are_texts_in_a_file(workdir, tmp_path):
    restored = restore.restore(workdir)
    own, key = (restored.params, restored.mutables), stream(0, Use.SAMPLES)
    drawn = {
        kind: sampling.draw(
            sampling.sample_fn(restored.model, 4, decoded=kind), *own, 4, key
        )
        for kind in ("mean", "sample")
    }
    view = restored.experiment.data.view
    sampling.write(drawn["sample"], tmp_path, view)
    texts = (tmp_path / "samples.txt").read_text("utf-8").splitlines()
    assert texts == view.texts(drawn["sample"].images)
    with np.load(tmp_path / "samples.npz") as file:
        assert file["codes"].shape == (4, restored.experiment.data.length)
    assert (drawn["mean"].images != drawn["sample"].images).any()

"""A prior on points of the plane, from config to report, for both kinds of state."""

import json

import jax
import numpy as np
import pytest

from configs.pieces import piece
from configs.toy2d import cld, vpsde
from lsgm.config import ConfigError
from lsgm.evaluation import sampling
from lsgm.runs import dry_run, experiment, restore, train
from lsgm.runs import measure as evaluation
from lsgm.streams import Use, stream
from tests.marks import first_fast


@pytest.fixture(scope="module", params=first_fast([cld, vpsde]), ids=["cld", "vpsde"])
def config(request):
    return request.param.get_config("smoke")


@pytest.fixture(scope="module")
def workdir(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy2d") / "run"
    train.train(experiment.from_config(config), config, folder)
    evaluation.measure(restore.restore(folder), seed=0, out=folder)
    return folder


def test_report_has_the_plane_and_a_density_without_bits(workdir):
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert np.isfinite(metrics["bound"]["nelbo"]["nats"])
    assert metrics["bound"]["reconstruction"]["nats"] == 0
    assert not [name for name in metrics["bound"] if name.startswith("bits")]
    page = (workdir / "report.html").read_text()
    assert "The plane" in page and "Bound on -log p(x)" in page
    assert (workdir / "prior" / "samples" / "00000002.png").exists()


def test_the_bound_with_the_normal_anchor_is_the_normal_density(workdir):
    """On the same examples: the VAE has nothing to add."""
    restored = restore.restore(workdir)
    metrics = json.loads((workdir / "metrics.json").read_text())
    batch = restored.experiment.data.eval_batches("test", 8, 8).batch(0)
    expected = np.mean(np.sum(0.5 * (batch["x"] ** 2 + np.log(2 * np.pi)), (1, 2, 3)))
    found = metrics["bound"]["nelbo_with_normal_prior"]["nats"]
    assert found == pytest.approx(expected, rel=1e-5)


def test_samples_are_points_in_a_file(workdir, tmp_path):
    restored = restore.restore(workdir)
    draw = sampling.sample_fn(restored.model, 4)
    drawn = sampling.draw(
        draw, restored.params, restored.mutables, 6, stream(0, Use.SAMPLES)
    )
    sampling.write(drawn, tmp_path, restored.experiment.data.view)
    with np.load(tmp_path / "samples.npz") as file:
        assert file["points"].shape == (6, 2) and file["nfe"].shape == (6,)
    assert (tmp_path / "samples.png").exists()
    assert not (tmp_path / "samples.txt").exists()


def test_dry_run_says_all_and_writes_nothing(config, tmp_path):
    made = experiment.from_config(config)
    text = dry_run.describe(made, config, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    state = train.initial_state(made.stages["prior"], made.vae, jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params["prior"]))
    assert f"group prior: {count:,} parameters, trained by Adam, averaged" in text
    assert "group vae: 0 parameters, frozen" in text
    assert "stage prior: 2 steps of 2 examples" in text
    assert "train 50,000, validation 5,000, test 5,000 examples" in text
    assert f"{tmp_path / 'new' / 'prior' / 'checkpoints'}/" in text
    resolved = json.loads(text[: text.index("\n}") + 2])
    assert resolved["data"]["target"] == "lsgm.data.points:Points"


def test_measures_of_images_refuse_points(config):
    judged = config.copy_and_resolve_references()
    with judged.unlocked():
        judged.evaluation.extractor = piece("features.classifier:ClassifierFeatures")
    made = experiment.from_config(judged)
    with pytest.raises(ConfigError, match="measures images, and these data are not"):
        with experiment.name_data_keys(made.data):
            made.evaluation.reference_statistics(made.data)

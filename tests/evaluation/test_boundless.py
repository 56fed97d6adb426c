"""A prior without a bound: trained, evaluated, reported, compared without one."""

import json
import pathlib

import pytest

from configs import pieces
from configs.pieces import measure, piece
from lsgm.evaluation import compare
from lsgm.evaluation.measures.sampling import SamplingCost
from lsgm.reports import ledger
from lsgm.runs import experiment, restore, train
from lsgm.runs import measure as evaluation
from lsgm.studies.budget import Sizes
from lsgm.studies.measures import MEASURES, Outcome
from lsgm.training.records import read_records
from tests import tiny

BOUND_WORDS = ("Negative ELBO", "Bound", "bound", "bits/dim", "ELBO")
SOURCE = "a paper"


def boundless_config():
    """A VAE under N(0, I), then a generator on its latents."""
    config = tiny.config(sample_every=2)
    stage = config.stages.lsgm
    adam = stage.optimizers.vae.to_dict()
    del stage.optimizers, stage.regularization, stage.prior
    stage.optimizers = {"generator": adam}
    stage.prior = {"target": "tests.priors.boundless:MomentMatching"}
    stage.keep_best = True
    config.evaluation.update(
        extractor=piece("features.classifier:ClassifierFeatures"),
        selection_samples=20,
        num_samples=24,
        ledger=piece("reports.ledger:Ledger", source=SOURCE, fid=3.0, nfe=1.0),
        measures=(
            measure("bound:HeldOutBound", num_examples=8),
            measure("reconstruction:Reconstruction", num_examples=8),
            pieces.ode_likelihood(1e-2, num_examples=6),
            measure("sampling:SamplingCost", timing_repeats=1),
            measure("pictures:Pictures"),
            measure("distances:Distances"),
            measure("exploration:Exploration", num=2),
            measure("latents:LatentStatistics"),
        ),
    )
    return config


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> pathlib.Path:
    """The workdir of a finished run with its evaluation."""
    workdir, config = tmp_path_factory.mktemp("generator"), boundless_config()
    train.train(experiment.from_config(config), config, workdir)
    evaluation.measure(restore.restore(workdir, trust=["tests"]), seed=0, out=workdir)
    return workdir


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_training_records_no_bound(evaluated):
    """The reconstruction is there, of held-out images; and the best state is kept."""
    names = set().union(*read_records(evaluated / "lsgm" / "metrics.jsonl"))
    terms = {"nelbo", "neg_entropy", "cross_entropy", "bits_per_dim"}
    assert not {f"{held}{t}" for t in terms for held in ("", "held_out/")} & names
    assert {"loss_generator", "held_out/reconstruction", "samples/frechet"} <= names
    assert list((evaluated / "lsgm" / "best").iterdir())


def test_evaluation_has_a_reconstruction_and_no_bound(evaluated):
    metrics = metrics_of(evaluated)
    assert not {"bound", "likelihood"} & set(metrics)
    found = metrics["reconstruction"]
    assert found["reconstruction"]["nats"] > 0 and found["num_examples"] == 8
    assert metrics["sampling"]["nfe"] == 1


def test_report_shows_none(evaluated):
    """But for the picture of the VAE's own stage, whose prior has one."""
    page = (evaluated / "report.html").read_text().split("<body")[1]
    assert not [word for word in BOUND_WORDS if f">{word}" in page]
    assert "-log p(x|z)" in page and "Network calls" in page
    assert "Round trips" not in page and "Interpolation" in page
    assert "From noise to image" not in page


def test_ledger_shows_none_unless_one_was_published(evaluated):
    assert "bound" not in (evaluated / "ledger.md").read_text()
    metrics = metrics_of(evaluated)
    published = ledger.Ledger(source=SOURCE, bits_per_dim=3.4)
    ours = SamplingCost.reproduced(metrics["sampling"])
    lines = ledger.markdown(published, ours, metrics["card"]).splitlines()
    (line,) = (line for line in lines if "bound" in line)
    expected = "| bound on -log p(x), bits/dim | 3.400 |  |  | not measured: the prior "
    assert line.startswith(expected)


def test_a_study_s_measures_find_none(evaluated):
    sizes = Sizes(latent_dims=1, prior_dims=1, parameters=1, train_flop=1.0)
    outcome = Outcome(metrics_of(evaluated), sizes, 0, 8)
    for name in ("bound", "bits_per_dim", "gain"):
        with pytest.raises(KeyError):
            MEASURES[name].read(outcome)
    assert MEASURES["reconstruction"].read(outcome) > 0


def test_comparison_with_one_that_has_a_bound(evaluated, tmp_path):
    """The bound stands in the other's column alone."""
    restored = restore.restore(
        evaluated / "vae", config=boundless_config(), trust=["tests"]
    )
    evaluation.measure(restored, seed=0, out=tmp_path)
    both = [compare.read(folder) for folder in (evaluated, tmp_path)]
    parts = [{part for part, _ in run.rows} for run in both]
    assert "bound" not in parts[0] and "bound" in parts[1]
    assert "-log p(x|z) [nats]" in {label for _, label in both[0].rows}
    alone = compare.write(both[:1], tmp_path).read_text()
    assert not [word for word in BOUND_WORDS if f">{word}" in alone]

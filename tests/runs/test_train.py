"""Runs as a user starts them: trained, stopped, resumed, sampled, evaluated."""

import json
import pathlib
import types

import jax
import numpy as np
import pytest

from configs.pieces import measure, piece
from lsgm.config import ConfigError
from lsgm.evaluation import evaluate, monitor, provenance, sampling
from lsgm.runs import experiment, restore, train
from lsgm.runs import measure as evaluation
from lsgm.runs.workdir import WorkdirError
from lsgm.streams import Use, stream
from lsgm.training import inactive, loop
from lsgm.training.checkpoints import read
from lsgm.training.records import read_records
from tests import tiny

pytestmark = pytest.mark.slow


def run(config, workdir: pathlib.Path) -> None:
    train.train(experiment.from_config(config), config, workdir)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    """The tiny experiment, trained to its end in one go."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    run(tiny.config(), workdir)
    return workdir


class Killed(BaseException):
    """Stands for a kill: nothing gets to tidy up after it."""


def killed_after(monkeypatch, step: int, stage_steps: list[int]) -> None:
    """Let the run die when its ``step``-th update is done, unsaved."""
    save, seen = loop.Loop._save, stage_steps

    def dying(self, state, pending):
        seen.append(int(state.step))
        save(self, state, pending)
        if len(seen) == step:
            raise Killed

    monkeypatch.setattr(loop.Loop, "_save", dying)


@pytest.mark.parametrize("saves", [1, 3])
def test_killed_run_goes_on_bit_for_bit(finished, tmp_path, monkeypatch, saves):
    """Killed in the first stage and in the second; then the same command."""
    workdir = tmp_path / "resumed"
    with monkeypatch.context() as patch:
        killed_after(patch, saves, [])
        with pytest.raises(Killed):
            run(tiny.config(), workdir)
    run(tiny.config(), workdir)
    for stage in ("vae", "lsgm"):
        there = finished / stage / "checkpoints" / "4"
        here = workdir / stage / "checkpoints" / "4"
        fields = ("params", "ema", "opt", "mutables")
        jax.tree.map(
            np.testing.assert_array_equal, read(here, fields), read(there, fields)
        )
        name = "metrics.jsonl"
        assert read_records(workdir / stage / name) == read_records(
            finished / stage / name
        )


def test_other_config_on_the_same_workdir_is_refused(finished):
    config = tiny.config()
    config.stages.lsgm.batch_size = 8
    with pytest.raises(WorkdirError, match=r"lsgm\.batch_size: 4 there, 8 now"):
        run(config, finished)


def test_second_stage_starts_from_the_first(finished, tmp_path):
    """A stage that freezes the VAE ends with the parameters that it was handed."""
    config = tiny.config()
    del config.stages.lsgm.optimizers.vae
    del config.stages.lsgm.regularization.vae
    workdir = tmp_path / "frozen"
    run(config, workdir)
    before = read(workdir / "vae" / "checkpoints" / "4", ("params", "mutables"))
    after = read(workdir / "lsgm" / "checkpoints" / "4", ("params", "mutables"))
    jax.tree.map(
        np.testing.assert_array_equal, after["params"]["vae"], before["params"]["vae"]
    )


def test_a_frozen_vae_comes_without_what_its_training_needed():
    """What a stage begins with is what its checkpoints are restored to: power-iteration
    vectors of the stage before would make them another model's."""
    config = tiny.config()
    for part in (config.stages.lsgm.optimizers, config.stages.lsgm.regularization):
        del part["vae"]
    made = experiment.described(config)
    first, second = made.stages["vae"], made.stages["lsgm"]

    def begin(stage):
        return train.initial_state(stage, made.vae, jax.random.key(0))

    found = jax.eval_shape(lambda: train.inherit(begin(second), begin(first), second))
    expected = train.abstract_state(second, made.vae, "lsgm")
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    spectral = [
        jax.eval_shape(lambda s=s: begin(s)).mutables["vae"] for s in (first, second)
    ]
    assert "spectral" in spectral[0] and "spectral" not in spectral[1]


def test_dropped_channels_stay_dropped(tmp_path, monkeypatch):
    """A stage that goes on has them from its checkpoint, and doesn't look again."""
    config, workdir = tiny.config(), tmp_path / "dropped"
    config.stages.lsgm.drop_inactive = 1e9
    with monkeypatch.context() as patch:
        killed_after(patch, 3, [])
        with pytest.raises(Killed):
            run(config, workdir)
    monkeypatch.delattr(inactive, "mean_channel_kl")
    run(config, workdir)
    tree = read(workdir / "lsgm" / "checkpoints" / "4", ("params", "mutables"))
    assert not np.any(tree["mutables"]["prior"]["active"])
    np.testing.assert_allclose(tree["params"]["prior"]["mixing_logit"], -15, atol=0.1)


def test_records_and_pictures_are_there(finished):
    records = read_records(finished / "lsgm" / "metrics.jsonl")
    names = set().union(*records)
    assert {"nelbo", "loss_prior", "held_out/nelbo", "samples/nfe"} <= names
    assert [r["step"] for r in records if "nelbo" in r] == [2, 4]
    assert list((finished / "lsgm" / "samples").glob("*.png"))
    assert list((finished / "lsgm" / "events").iterdir())


def test_checkpoint_samples_with_counted_calls(finished):
    restored = restore.restore(finished)
    own = restored.params, restored.mutables
    drawn = sampling.draw(
        sampling.sample_fn(restored.model, 4), *own, 6, stream(0, Use.SAMPLES)
    )
    assert drawn.images.shape == (6, 28, 28, 1)
    assert (drawn.nfe == 3).all()
    spec = sampling.sampler_spec("lsgm.samplers.heun:Heun", ["num_steps=2"])
    other = sampling.with_sampler(restored.model, spec)
    drawn = sampling.draw(sampling.sample_fn(other, 4), *own, 4, stream(0, Use.SAMPLES))
    assert (drawn.nfe == drawn.nfe[0]).all() and drawn.nfe[0] > 2


def test_evaluation_writes_metrics_and_report(finished, tmp_path):
    subject = evaluation.subject_of(restore.restore(finished), seed=0)
    measured = evaluate.measure(subject, 0, tmp_path)
    evaluate.write(subject, measured, tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    found = metrics["bound"]
    parts = ("reconstruction", "neg_entropy", "cross_entropy")
    total = sum(found[p]["nats"] for p in parts)
    assert found["nelbo"]["nats"] == pytest.approx(total, rel=1e-5)
    bits = found["nelbo"]["nats"] / (28 * 28 * np.log(2))
    assert found["bits_per_dim"] == pytest.approx(bits)
    assert metrics["sampling"]["nfe"] == 3
    solved = metrics["likelihood"]
    assert solved["num_examples"] == 6 and solved["nfe"] >= 8
    total = sum(solved[p]["nats"] for p in parts)
    assert solved["nelbo"]["nats"] == pytest.approx(total, rel=1e-5)
    assert solved["importance_weighted"]["nats"] < solved["nelbo"]["nats"]
    page = (tmp_path / "report.html").read_text()
    assert "Importance-weighted, K = 2" in page and "bits/dim of 1-bit data" in page
    assert "data:image/png;base64," in page and "://" not in page


def _without_seconds(metrics):
    return {
        part: {k: v for k, v in found.items() if not k.startswith("seconds")}
        for part, found in metrics.items()
    }


def test_same_card_same_numbers(finished, tmp_path):
    """Computed twice; and a third time from what a killed evaluation left."""
    found = []
    for folder in ("a", "b"):
        subject = evaluation.subject_of(restore.restore(finished), seed=0)
        found.append(evaluate.measure(subject, 0, tmp_path / folder))
    (tmp_path / "b" / "parts" / "sampling.npz").unlink()
    found.append(evaluate.measure(subject, 0, tmp_path / "b"))
    first = found[0]
    for other in found[1:]:
        assert _without_seconds(other.metrics) == _without_seconds(first.metrics)
        assert other.sections == first.sections
        assert other.per_example.keys() == first.per_example.keys()
        for name, values in first.per_example.items():
            np.testing.assert_array_equal(values, other.per_example[name])


def test_card_tells_seed_sampler_and_average_apart(finished):
    restored = restore.restore(finished)
    spec = sampling.sampler_spec("lsgm.samplers.heun:Heun", ["num_steps=2"])
    heun = restored._replace(model=sampling.with_sampler(restored.model, spec))
    shifted = restored._replace(
        params=jax.tree.map(lambda p: p + 1, restored.params), average=False
    )
    cards = [
        evaluation.card_of(restored, seed=0),
        evaluation.card_of(restored, seed=1),
        evaluation.card_of(heun, seed=0),
        evaluation.card_of(restored._replace(average=False), seed=0),
        evaluation.card_of(shifted, seed=0),
    ]
    digests = [provenance.digest(card) for card in cards]
    assert len(set(digests)) == len(cards)
    again = evaluation.card_of(restore.restore(finished), seed=0)
    assert provenance.digest(again) == digests[0]


def test_a_stage_of_a_workdir_can_be_named(finished):
    assert restore.restore(finished).stage == "lsgm"
    assert restore.restore(finished / "vae").stage == "vae"


def test_best_state_is_kept_and_judged(tmp_path):
    """Its samples' distance is the least of those recorded; the ledger is its own."""
    config = tiny.config(sample_every=2)
    config.stages.lsgm.keep_best = True
    settings = config.evaluation
    settings.update(
        extractor=piece("features.classifier:ClassifierFeatures"),
        selection_samples=20,
        num_samples=24,
        ledger=piece("reports.ledger:Ledger", source="a paper", nats=100.0),
    )
    settings.measures = (
        measure("bound:HeldOutBound", num_examples=8, num_draws=2),
        measure("distances:Distances"),
    )
    run(config, tmp_path)
    records = read_records(tmp_path / "lsgm" / "metrics.jsonl")
    seen = {r["step"]: r[monitor.DISTANCE] for r in records if monitor.DISTANCE in r}
    assert sorted(seen) == [2, 4]
    restored = restore.restore(tmp_path)
    assert restored.step == min(seen, key=seen.__getitem__)
    assert restored.meta["chosen_by"][monitor.DISTANCE] == min(seen.values())
    evaluation.measure(restored, seed=0, out=tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["distance"]["name"] == "FD_24 (digit CNN)"
    assert metrics["card"]["step"] == restored.step
    assert (
        "| bound on -log p(x), nats | 100.0 |" in (tmp_path / "ledger.md").read_text()
    )


def test_another_config_measures(finished):
    """Its data and evaluation replace the checkpoint's; the model stays."""
    config = tiny.config()
    config.evaluation.num_samples = 5
    config.vae.network.channels = (8, 8)
    restored = restore.restore(finished, config=config)
    assert restored.experiment.evaluation.num_samples == 5
    assert restored.experiment.vae.network.channels == (4, 8)
    card = evaluation.card_of(restored, seed=0)
    other = evaluation.card_of(restore.restore(finished), seed=0)
    assert card["config_sha256"] != other["config_sha256"]
    assert card["parameters_sha256"] == other["parameters_sha256"]
    config.evaluation.split = "tset"
    config.data.num_bits = 3
    with pytest.raises(ConfigError, match=r"data\.num_bits"):
        restore.restore(finished, config=config)


def test_each_stage_and_rollback_has_its_own_order_and_binarisation():
    made = experiment.described(tiny.config())

    def first_batch(name, rollbacks):
        stage = made.stages[name]
        held = types.SimpleNamespace(experiment=made, name=name, stage=stage)
        batches = train.Attempt._batches(held, rollbacks)
        return batches.indices(0).tolist(), batches.batch(0)["levels"].tobytes()

    cases = [("vae", 0), ("lsgm", 0), ("vae", 1), ("lsgm", 1)]
    orders, levels = zip(*(first_batch(*case) for case in cases), strict=True)
    assert len(set(map(tuple, orders))) == len(set(levels)) == 4
    whole = made.data.train_batches(made.seed, 4)
    assert whole.indices(0).tolist() == orders[0]

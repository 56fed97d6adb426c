"""A new measure is one file and a line in a config: this file is it."""

import dataclasses
import json
import types
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from configs.pieces import measure, piece
from lsgm.config import ConfigError, build
from lsgm.evaluation import compare, evaluate
from lsgm.evaluation.measures.base import Measure, Needs
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun, Subject
from lsgm.reports.ledger import Reproduced
from lsgm.reports.page import Metric
from lsgm.runs import experiment
from lsgm.statistics.estimate import Estimate, estimate_mean
from tests import tiny

NUM = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brightness(Measure):
    """Mean level of held-out images, times a factor."""

    name: ClassVar[str] = "brightness"
    must_agree: ClassVar[tuple[str, ...]] = ("num_bits",)
    card_must_agree: ClassVar[tuple[str, ...]] = ("device",)

    factor: float = 1.0
    num_bits: int = 1

    @property
    def needs(self) -> Needs:
        return Needs(num_examples=NUM)

    def run(self, run: EvaluationRun) -> Result:
        batches = run.held_out(3, NUM)
        each = np.concatenate([b["levels"].mean((1, 2, 3)) for b in batches])
        values = self.factor * (each + 0.01 * np.arange(NUM))
        found = estimate_mean(values)
        numbers = {"value": found.value, "standard_error": found.standard_error}
        return Result(
            metrics={"level": numbers, "num_bits": self.num_bits},
            per_example={"level": values},
        )

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        level = Metric(
            label="Mean level",
            **found["level"],
            unit="levels",
            better="higher",
            key="brightness/level",
        )
        return {"Brightness (held-out images)": [level]}

    @classmethod
    def headline(cls, found: Mapping[str, Any]) -> Sequence[Metric]:
        return [Metric(label="How bright", **found["level"])]

    @classmethod
    def reproduced(cls, found: Mapping[str, Any]) -> Sequence[Reproduced]:
        return [Reproduced(field="nats", ours=Estimate(**found["level"]))]


def config(*measures, **fields):
    made = tiny.config()
    made.evaluation.measures = measures
    made.evaluation.update(fields)
    return made


def brightness(**fields):
    return {"target": "tests.evaluation.test_new_measure:Brightness", **fields}


KEY = "brightness/level"
CARD = {
    "title": "t",
    "stage": "lsgm",
    "step": 1,
    "seed": 0,
    "device": "cpu",
    "parameters": "raw",
    "num_samples": 0,
}


def subject_of(*measures, card=(), model=None, **fields):
    """A model without parameters, for none are asked; pieces or measures."""
    made = experiment.described(config(**fields))
    built = (m if isinstance(m, Measure) else build(m) for m in measures)
    settings = dataclasses.replace(made.evaluation, measures=tuple(built))
    return Subject(
        model=model or made.stages["lsgm"].objective(made.vae).model,
        params={},
        mutables={},
        data=made.data,
        settings=settings,
        card=CARD | dict(card) | {"evaluation": repr(settings)},
        records={},
    )


def write(folder, *measures, card=(), model=None):
    """An evaluation, with a paper to stand beside."""
    paper = piece("reports.ledger:Ledger", source="a paper", nats=0.5)
    subject = subject_of(*measures, card=card, model=model, ledger=paper)
    measured = evaluate.measure(subject, 0, folder, lambda line: None)
    evaluate.write(subject, measured, folder)
    return measured


def test_it_is_in_metrics_report_and_ledger(tmp_path):
    measured = write(tmp_path, brightness())
    document = json.loads((tmp_path / "metrics.json").read_text())
    level = document["brightness"]["level"]
    assert level["value"] == pytest.approx(measured.per_example[KEY].mean())
    with np.load(tmp_path / "per_example.npz") as file:
        assert file[KEY].shape == (NUM,)
    page = (tmp_path / "report.html").read_text()
    for words in ("How bright", "Mean level", "Brightness (held-out images)"):
        assert words in page
    assert "published 0.5000, difference" in page
    assert "| 0.5000 |" in (tmp_path / "ledger.md").read_text()


def test_two_of_it_are_compared_example_by_example(tmp_path):
    write(tmp_path / "a", brightness())
    write(tmp_path / "b", brightness(factor=1.1))
    a, b = (compare.read(tmp_path / name, ["tests"]) for name in "ab")
    row = ("brightness", "Mean level [levels]")
    found = compare.difference(a, b, row)
    each = b.per_example[KEY] - a.per_example[KEY]
    assert found.paired and found.value == pytest.approx(each.mean())
    assert found.half_width == pytest.approx(1.96 * each.std(ddof=1) / NUM**0.5)
    page = compare.write([a, b], tmp_path).read_text()
    assert "(paired), better" in page and "Mean level" in page


@pytest.mark.parametrize(
    ("fields", "card", "words"),
    [(dict(num_bits=3), {}, "num bits"), ({}, {"device": "gpu"}, "device")],
)
def test_its_own_conditions_hold(tmp_path, fields, card, words):
    write(tmp_path / "a", brightness())
    write(tmp_path / "b", brightness(**fields), card=card)
    runs = [compare.read(tmp_path / name, ["tests"]) for name in "ab"]
    (warning,) = compare.warnings_of(runs)
    assert "brightness does not compare" in warning and warning.endswith(words)
    page = compare.write(runs, tmp_path).read_text()
    assert "does not compare" in page and "paired" not in page


def test_a_prior_without_a_bound_leaves_the_bound_out(tmp_path):
    """In words, and nowhere as a number."""
    model = types.SimpleNamespace(prior=types.SimpleNamespace(has_bound=False))
    bound = measure("bound:HeldOutBound", num_examples=NUM)
    measured = write(tmp_path, bound, brightness(), model=model)
    assert measured.left_out == ["bound"]
    assert measured.metrics.keys() == {"brightness"}
    page = (tmp_path / "report.html").read_text()
    assert "Not measured" in page and "prior has no bound on -log p(x)" in page
    assert "Negative ELBO" not in page
    compare.write([compare.read(tmp_path, ["tests"])] * 2, tmp_path)


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        ((brightness(), measure("distances:Distances")), "needed by 'distance', eval"),
        ((brightness(), brightness(factor=2.0)), "named 'brightness' too"),
        ((brightness(factr=2.0),), "did you mean 'factor'"),
        ((piece("sdes.vpsde:VPSDE"),), "expected"),
    ],
)
def test_what_cannot_be_measured_is_refused(measures, message):
    with pytest.raises(ConfigError, match=message):
        experiment.described(config(*measures))

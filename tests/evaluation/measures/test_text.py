"""Measures of texts: sentences about the bound, copies, and samples beside texts."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from lsgm.categorical import CategoricalLikelihood
from lsgm.data.sources.glosses import Glosses
from lsgm.data.texts import TextExamples, Texts
from lsgm.evaluation.measures import text_bound
from lsgm.evaluation.measures.text_bound import TextBound, per_character, verdict
from lsgm.evaluation.measures.text_copies import TextCopies, features
from lsgm.evaluation.measures.text_samples import TextSamples
from lsgm.evaluation.sampling import Drawn
from lsgm.evaluation.settings import Evaluation
from lsgm.evaluation.subject import EvaluationRun, Subject
from lsgm.model import LatentModel
from lsgm.networks.sequence import SequenceVAE
from lsgm.priors.normal import StandardNormal
from lsgm.statistics.ngrams import KneserNey
from lsgm.vae import VAE

ALPHABET = " abcdefghijklmnopqrstuvwxyz,-';"
NUM = 40


@dataclasses.dataclass(frozen=True)
class FewGlosses(Glosses):
    """The first 3,000 of each split."""

    def open(self, split):
        texts, labels, place = super().open(split)
        return TextExamples(texts[:3000], labels[:3000], place)


DATA = Texts(source=FewGlosses(), alphabet=ALPHABET, length=64)


def terms(kl, gain=5.0):
    """Terms of the bound of 40 texts with so many nats of KL."""
    rng = np.random.default_rng(0)
    reconstruction, cross_entropy = 50 + rng.normal(size=NUM), 60 + rng.normal(size=NUM)
    nelbo = reconstruction + kl
    return {
        "reconstruction": reconstruction,
        "neg_entropy": kl - cross_entropy,
        "cross_entropy": cross_entropy,
        "nelbo": nelbo,
        text_bound.WITH_NORMAL: nelbo + gain + rng.normal(size=NUM),
    }


def test_a_decoder_that_ignores_its_latents_is_called_so():
    values = terms(kl=0.5)
    said = verdict(values, {}, context=4)
    (warning,) = [s for s in said if "ignores" in s]
    assert warning.startswith(
        "WARNING: the decoder ignores its latents. They carry 0.5"
    )
    assert "a 5-gram model with decoration" in warning
    assert not [s for s in verdict(terms(kl=2.0), {}, context=4) if "ignores" in s]


@pytest.mark.parametrize(
    "gain, worth",
    [
        (5.0, "The learned prior is worth 5"),
        (0.1, "WARNING: the learned prior is worth 0."),
        (-3.0, "WARNING: the learned prior is worth -"),
    ],
)
def test_what_the_prior_is_worth_is_said(gain, worth):
    assert verdict(terms(kl=9.0, gain=gain), {}, context=0)[-1].startswith(worth)


def test_only_models_that_are_beaten_are_named():
    values = terms(kl=9.0)
    beside = {"1-gram": values["nelbo"] + 2 + np.arange(NUM) / NUM}
    beside["2-gram"] = values["nelbo"] + np.resize([1.0, -1.0], NUM)
    first = verdict(values, beside, context=0)[0]
    assert "1-gram" in first and "2-gram" not in first


def test_the_bound_stands_beside_ngrams_of_the_same_texts():
    """A VAE at its start, with N(0, I)."""
    model = LatentModel(
        vae=VAE(
            network=SequenceVAE(num_outputs=32, width=4, latent_channels=1),
            likelihood=CategoricalLikelihood(num_classes=32),
            data_shape=(64, 1, 1),
        ),
        prior=StandardNormal(),
    )
    params, mutables = model.init(jax.random.key(0))
    settings = Evaluation(measures=(), batch_size=4)
    subject = Subject(model, params, mutables, DATA, settings, {}, {})
    measure = TextBound(num_examples=6, num_draws=1, orders=(1, 2))
    found = measure.run(EvaluationRun(subject, 0))
    texts, train = DATA.texts("test")[:6], DATA.texts("train")
    units = sum(len(text) + 1 for text in texts)
    total = found.per_example["nelbo"].sum()
    expected = total / units / np.log(2)
    assert found.metrics["bits_per_char"] == pytest.approx(expected)
    assert found.metrics["model"]["bits_per_char"] == pytest.approx(expected)
    nats = -KneserNey(train, 2, 32).log_prob(texts)
    np.testing.assert_allclose(found.per_example["2-gram nats"], nats)
    terms = found.per_example
    kl = np.mean(terms["nelbo"] - terms["reconstruction"])
    assert found.metrics["kl"]["nats"] == pytest.approx(kl, rel=1e-5)
    (section,) = found.sections
    assert section.text.startswith("By more than 3 standard errors the bound is below")
    bits = list(TextBound.rows(found.metrics).values())[1]
    assert [row.label for row in bits] == [
        "This model, by the bound",
        "independent places",
        "1-gram",
        "2-gram",
    ]


def test_bits_are_a_ratio_of_sums():
    found = per_character(np.array([10.0, 20.0]), np.array([5.0, 25.0]))
    assert found["bits_per_char"] == pytest.approx(1 / np.log(2))
    assert found["nats"] == 15 and found["standard_error"] > 0


def shown(texts):
    codes = DATA.encode(texts)
    images = codes.astype(np.float32) / np.float32(DATA.max_level)
    return Drawn(images, np.zeros(len(texts), np.int32))


@dataclasses.dataclass(frozen=True, eq=False)
class Scripted(EvaluationRun):
    """An evaluation whose samples are given texts, by how they are decoded."""

    texts: Any = None

    @property
    def generated(self):
        return shown(self.texts["mean"])

    def draw(self, num, batch_size, num_path=0, decoded="mean"):
        return iter([shown(self.texts[decoded][:num])])


def run_on(mean, sample=()):
    settings = Evaluation(measures=(), batch_size=50)
    subject = Subject(None, {}, {}, DATA, settings, {}, {})
    return Scripted(subject, 0, {"mean": mean, "sample": sample})


def test_held_out_texts_are_no_copies_and_training_texts_are():
    held_out, train = DATA.texts("validation")[:NUM], DATA.texts("train")[:NUM]
    measure = TextCopies(num_texts=NUM)
    fresh = measure.run(run_on(held_out)).metrics
    assert fresh["copies"] == 0 and abs(fresh["nearest"]["z"]) < 3
    copied = measure.run(run_on(train)).metrics
    assert copied["copies"] == NUM and copied["copies_held_out"] == 0
    assert copied["nearest"]["z"] < -6 and copied["nearest"]["nearer"] == 1
    ((_, rows),) = TextCopies.rows(copied).items()
    assert rows[0].value == NUM


def test_features_have_length_one():
    found = features(["a text of words", "abc", ""])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 0])
    assert (found[0] > 0).sum() <= 12


def test_texts_in_the_place_of_samples_look_like_texts():
    """Real ones as draws, their letters shuffled as modes."""
    real = DATA.texts("validation")[:NUM]
    rng = np.random.default_rng(0)
    shuffled = ["".join(rng.permutation(list(text))) for text in real]
    run = run_on(shuffled, real)
    found = TextSamples(num_texts=NUM, order=3).run(run)
    like, unlike, held_out = (found.metrics[k] for k in ("sample", "mean", "held_out"))
    assert found.metrics["num_texts"] == NUM
    for name in ("bits_per_char", "known_words", "distance_2", "length", "distinct_1"):
        assert like[name] == pytest.approx(held_out[name], rel=0.15), name
    assert unlike["bits_per_char"] > 1.5 * like["bits_per_char"]
    assert unlike["known_words"] < 0.6 * like["known_words"]
    assert unlike["distance_2"] > 1.3 * like["distance_2"]
    assert unlike["distance_1"] == pytest.approx(like["distance_1"])
    assert like["unique"] == like["clean_ends"] == 1
    assert [s.title for s in found.sections][2] == "Held-out texts in their place"
    assert real[0] in found.sections[0].figures[0].alt
    assert len(TextSamples.rows(found.metrics)) == 3


@pytest.mark.parametrize(
    "measure, fields",
    [(TextBound, dict(orders=(0,))), (TextSamples, dict(order=0))],
)
def test_impossible_settings(measure, fields):
    with pytest.raises(ValueError, match="at least 1"):
        measure(**fields)

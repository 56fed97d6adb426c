"""What samples of texts are like, beside held-out texts in their place.

Held-out texts and samples are measured alike, against the same training split and
the same other held-out texts. A model is judged by how near its numbers are to theirs:
too few bits per character are a fault too, of samples that are too plain.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lsgm.data.pipeline import require_kind
from lsgm.data.texts import Texts
from lsgm.evaluation.measures.base import Measure, require_positive
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.reports import plots
from lsgm.reports.page import Figure, Metric, Section
from lsgm.statistics.estimate import estimate_mean, estimate_ratio
from lsgm.statistics.ngrams import KneserNey, ngram_distance
from lsgm.statistics.texts import count_ngrams, distinct, share_known, words_of

NUM_SHOWN = 20
DISTANCES = (1, 2, 3)
DISTINCT = (1, 2)
# Of samples, by how they are decoded.
TITLES = {
    "sample": "Samples, drawn from the decoder",
    "mean": "Samples, likeliest symbols",
    "held_out": "Held-out texts in their place",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSamples(Measure):
    """Spelling, words, variety, lengths of samples and of held-out texts.

    Attributes:
      num_texts: samples of either kind, and held-out texts; at most half of the split.
      order: of the n-gram model that scores texts.
    """

    name: ClassVar[str] = "texts"
    must_agree: ClassVar[tuple[str, ...]] = ("num_texts", "order", "split")
    card_must_agree: ClassVar[tuple[str, ...]] = ("data",)

    num_texts: int = 1000
    order: int = 5

    def __post_init__(self) -> None:
        require_positive(self, "num_texts", "order")

    def run(self, run: EvaluationRun) -> Result:
        """The same numbers of draws, modes and held-out texts, and some of each."""
        data = require_kind(run.subject.data, Texts, "evaluation.measures")
        split, num = run.subject.settings.split, self.num_texts
        held_out = data.open(split).codes[: 2 * num]
        # The other half is what all are compared with.
        num = min(num, len(held_out) // 2)
        size = run.subject.settings.batch_size
        codes: dict[str, np.ndarray] = {
            kind: np.concatenate(
                [_codes(data, d.images) for d in run.draw(num, size, decoded=kind)]
            )
            for kind in ("sample", "mean")
        }
        codes["held_out"] = held_out[num : 2 * num]
        texts = {kind: data.view.decode(c) for kind, c in codes.items()}
        words = {kind: words_of(t) for kind, t in texts.items()}
        compare = self._comparison(data, data.view.decode(held_out[:num]), words)
        metrics: dict[str, Any] = {
            kind: compare(texts[kind], words[kind], codes[kind]) for kind in texts
        }
        metrics |= {"num_texts": num, "order": self.order, "split": split}
        shown = [_section(TITLES[kind], texts[kind]) for kind in texts]
        return Result(metrics=metrics, sections=shown)

    def _comparison(
        self,
        data: Texts,
        other: Sequence[str],
        words: Mapping[str, Sequence[Sequence[str]]],
    ) -> Callable[..., dict[str, Any]]:
        """``(texts, words, codes) -> numbers``, once the training split is counted."""
        train = data.texts("train")
        model = KneserNey(train, self.order, data.classes)
        vocabulary = {word for one in words_of(train) for word in one}
        # Shares of equally many.
        least = {n: min(count_ngrams(w, n) for w in words.values()) for n in DISTINCT}

        def compare(
            texts: Sequence[str], words: Sequence[Sequence[str]], codes: np.ndarray
        ) -> dict[str, Any]:
            lengths = np.array([len(text) for text in texts])
            nats = -model.log_prob(texts)
            bits = estimate_ratio(nats / math.log(2), lengths + 1)
            length = estimate_mean(lengths)
            flat = codes.reshape(len(codes), -1)
            ended = np.maximum.accumulate(flat == 0, axis=1)
            numbers = {
                "bits_per_char": bits.value,
                "bits_standard_error": bits.standard_error,
                "length": length.value,
                "length_standard_error": length.standard_error,
                "known_words": share_known(words, vocabulary),
                "unique": len(set(texts)) / len(texts),
                "clean_ends": float((flat * ended == 0).all(1).mean()),
            }
            numbers |= {
                f"distance_{n}": ngram_distance(texts, other, n) for n in DISTANCES
            }
            return numbers | {
                f"distinct_{n}": distinct(words, n, least[n]) for n in DISTINCT
            }

        return compare

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        """A heading for each kind of texts."""
        return {
            f"{title} ({found['num_texts']} texts)": _rows(found[kind], found["order"])
            for kind, title in TITLES.items()
        }


def _codes(data: Texts, shown: np.ndarray) -> np.ndarray:
    codes = data.view.arrays(shown)["codes"]
    return codes.reshape(len(codes), *data.data_shape)


def _section(title: str, texts: Sequence[str]) -> Section:
    figure = Figure(
        png=plots.png(plots.lines(texts[:NUM_SHOWN])),
        caption="The first of them, not selected.",
        alt="\n".join(texts[:NUM_SHOWN]),
    )
    return Section(title=title, figures=[figure])


def _rows(found: Mapping[str, Any], order: int) -> list[Metric]:
    rows = [
        Metric(
            label=f"Bits per character under a {order}-gram model",
            value=found["bits_per_char"],
            standard_error=found["bits_standard_error"],
            unit="bits/char",
            note="of the training split; held-out texts say what is right",
        ),
        Metric(
            label="Mean length",
            value=found["length"],
            standard_error=found["length_standard_error"],
            unit="characters",
        ),
        Metric(label="Words that training texts hold", value=found["known_words"]),
        Metric(label="Different texts", value=found["unique"]),
        Metric(label="Nothing behind the end", value=found["clean_ends"]),
    ]
    rows += [
        Metric(
            label=f"Distance of {n}-gram frequencies to held-out texts",
            value=found[f"distance_{n}"],
            better="lower",
            note="Jensen-Shannon, 0 to 1",
        )
        for n in DISTANCES
    ]
    return rows + [
        Metric(label=f"Different {what} of equally many", value=found[f"distinct_{n}"])
        for n, what in zip(DISTINCT, ("words", "pairs of words"), strict=True)
    ]

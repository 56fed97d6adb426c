r"""Are samples copies of training texts?

Exact copies count, and nearness is tested as for images (``memorization``): a sample's
distance to its nearest training text, beside those of held-out texts. Compared are
counts of character 4-grams in 4,096 buckets, of length one:

    distance(a, b) = |a / |a| - b / |b||,   bucket(g) = crc32(g) mod 4096.     (1)
"""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lsgm.data.pipeline import require_kind
from lsgm.data.texts import Texts
from lsgm.evaluation.measures.base import Measure, Needs, require_positive
from lsgm.evaluation.measures.memorization import compared
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.reports import plots
from lsgm.reports.page import Figure, Metric, Section
from lsgm.statistics.nearest import Nearest
from lsgm.typing import Float

BUCKETS, GRAM = 4096, 4
BATCH = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextCopies(Measure):
    """Exact copies among samples, and how near samples are to training texts.

    Attributes:
      num_texts: samples, and held-out texts, at most.
      num_shown: samples beside their nearest training text, the nearest ones.
    """

    name: ClassVar[str] = "copies"
    must_agree: ClassVar[tuple[str, ...]] = ("num_samples", "num_held_out", "num_train")
    card_must_agree: ClassVar[tuple[str, ...]] = ("data",)

    num_texts: int = 500
    num_shown: int = 12

    def __post_init__(self) -> None:
        require_positive(self, "num_texts", "num_shown")

    @property
    def needs(self) -> Needs:
        """The samples."""
        return Needs(num_images=self.num_texts)

    def run(self, run: EvaluationRun) -> Result:
        """Shares of copies, the test, and the nearest pairs."""
        data, split = run.subject.data, run.subject.settings.split
        data = require_kind(data, Texts, "evaluation.measures")
        samples = data.view.texts(run.generated.images[: self.num_texts])
        held_out = data.texts(split)[: len(samples)]
        train = data.texts("train")
        nearest = Nearest(features([*samples, *held_out]), 1)
        for start in range(0, len(train), BATCH):
            nearest.see(features(train[start : start + BATCH]))
        found, num, known = nearest.found(), len(samples), set(train)
        distances = found.distances[:, 0]
        metrics: dict[str, Any] = {
            "copies": sum(text in known for text in samples),
            "copies_held_out": sum(text in known for text in held_out),
            "nearest": compared(distances[:num], distances[num:]),
            "num_samples": num,
            "num_held_out": len(held_out),
            "num_train": len(train),
        }
        order = np.argsort(distances[:num], kind="stable")[: self.num_shown]
        pairs = [(samples[i], train[found.indices[i, 0]]) for i in order]
        return Result(metrics=metrics, sections=[_sheet(pairs)])

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        """Copies and the test."""
        near, num = found["nearest"], found["num_samples"]
        medians = f"{near['median_samples']:.3g}, {near['median_held_out']:.3g}"
        where = f"{num} samples, {found['num_train']} training texts"
        return {
            f"Copies ({where})": [
                Metric(
                    label="Samples that are training texts",
                    value=found["copies"],
                    note=f"of {num}; of held-out texts {found['copies_held_out']}",
                ),
                Metric(
                    label="Nearer to a training text than held-out texts",
                    value=near["nearer"],
                    unit="of pairs",
                    note=f"0.5 is as near; median distances {medians}",
                ),
                Metric(
                    label="Mann-Whitney z",
                    value=near["z"],
                    note="below -2 or so: copies",
                ),
            ]
        }


def features(texts: Sequence[str]) -> Float[np.ndarray, "n 4096"]:
    """Eq. (1): counts by bucket, of length one; zero for an empty text."""
    counts = np.zeros((len(texts), BUCKETS))
    for i, text in enumerate(texts):
        for j in range(max(len(text) - GRAM + 1, 1)):
            counts[i, zlib.crc32(text[j : j + GRAM].encode()) % BUCKETS] += bool(text)
    norms = np.linalg.norm(counts, axis=1, keepdims=True)
    return counts / np.where(norms > 0, norms, 1)


def _sheet(pairs: Sequence[tuple[str, str]]) -> Section:
    lines = [line for one, near in pairs for line in (one, near, "")][:-1]
    figure = Figure(
        png=plots.png(plots.lines(lines)),
        caption="Samples, each with its nearest training text below.",
        alt="\n".join(lines),
    )
    text = "The samples that are nearest to a training text."
    return Section(title="Nearest training texts", figures=[figure], text=text)

"""The bound of texts in bits per character, beside n-gram models of the same texts.

The n-gram models (``lsgm.statistics.ngrams``) learn from split train, and score the
texts that the bound scores. Below all stands what a decoder of independent places can
reach without latents: how often each symbol stands at each place, padding included.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lsgm.data.pipeline import require_kind
from lsgm.data.texts import Texts
from lsgm.evaluation.measures.bound import WITH_NORMAL, HeldOutBound
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.reports.page import Metric, Section
from lsgm.reports.rows import describe_examples, nats_row
from lsgm.statistics.estimate import estimate_mean, estimate_ratio
from lsgm.statistics.ngrams import KneserNey, independent_log_prob

INDEPENDENT = "independent places"
# Nats per text below which latents say as good as nothing.
IGNORED = 1.0
ERRORS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextBound(HeldOutBound):
    """The bound per character, n-gram models beside it, and what it says in words.

    Attributes:
      orders: of the n-gram models.
    """

    orders: tuple[int, ...] = (1, 2, 3, 4, 5, 6)

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(order < 1 for order in self.orders):
            raise ValueError(f"orders = {self.orders}: each must be at least 1")

    def run(self, run: EvaluationRun) -> Result:
        """The bound's numbers, those of the n-gram models, and plain sentences."""
        subject, result = run.subject, super().run(run)
        data = require_kind(subject.data, Texts, "evaluation.measures")
        num = result.metrics["num_examples"]
        codes = data.open(subject.settings.split).codes[:num]
        units = data.units({"levels": codes})
        texts, train = data.view.decode(codes), data.texts("train")
        seen = data.open("train").codes.reshape(len(train), -1)
        own = codes.reshape(num, -1)
        nats = {INDEPENDENT: -independent_log_prob(seen, own, data.classes)}
        for order in self.orders:
            model = KneserNey(train, order, data.classes)
            nats[f"{order}-gram"] = -model.log_prob(texts)
        values = result.per_example
        kl = estimate_mean(values["neg_entropy"] + values["cross_entropy"])
        context = subject.model.vae.context
        result.metrics.update(
            {
                "baselines": {
                    name: per_character(n, units) for name, n in nats.items()
                },
                "model": per_character(values["nelbo"], units),
                "kl": {"nats": kl.value, "standard_error": kl.standard_error},
                "verdict": verdict(values, nats, context),
            }
        )
        values.update({f"{name} nats": n for name, n in nats.items()})
        words = " ".join(result.metrics["verdict"])
        result.sections.append(
            Section(title="What the bound says", figures=[], text=words)
        )
        return result

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        """The bound's rows, and bits per character of all models."""
        bits = [
            _bits("This model, by the bound", found["model"]),
            *(_bits(name, value) for name, value in found["baselines"].items()),
        ]
        own = super().rows(found)
        next(iter(own.values())).append(nats_row("KL to the prior", found["kl"]))
        return {**own, f"Bits per character ({describe_examples(found)})": bits}

    @classmethod
    def headline(cls, found: Mapping[str, Any]) -> Sequence[Metric]:
        """The bound in nats, and per character with its error."""
        nats, *_ = super().headline(found)
        return [nats, _bits("The same", found["model"])]


def per_character(nats: np.ndarray, units: np.ndarray) -> dict[str, float | None]:
    """Bits per character, and mean nats of a text."""
    bits = estimate_ratio(nats / math.log(2), units)
    return {
        "bits_per_char": bits.value,
        "standard_error": bits.standard_error,
        "nats": float(nats.mean()),
    }


def verdict(
    values: Mapping[str, np.ndarray], baselines: Mapping[str, np.ndarray], context: int
) -> list[str]:
    """Plain sentences about the bound: which baselines it beats, whether the decoder
    uses its latents, what the prior is worth.

    Args:
      values: the bound's terms of each text, in nats. baselines: nats of each text.
      context: symbols that the decoder sees before a place.
    """
    nelbo = values["nelbo"]
    beaten = [n for n, nats in baselines.items() if _below(nelbo, nats)]
    said = [
        f"By more than {ERRORS} standard errors the bound is below: "
        f"{', '.join(beaten) or 'none of the models beside it'}."
    ]
    kl = float(np.mean(values["neg_entropy"] + values["cross_entropy"]))
    if kl < IGNORED:
        kind = f"a {context + 1}-gram model with decoration" if context else "no more"
        said.append(
            f"WARNING: the decoder ignores its latents. They carry {kl:.2g} nats of a "
            f"text, below {IGNORED:g}; what is left is {kind}."
        )
    if WITH_NORMAL in values:
        gain = estimate_mean(values[WITH_NORMAL] - nelbo)
        worth = f"{gain.value:.2f} +- {gain.standard_error:.2f} nats a text"
        if _below(nelbo, values[WITH_NORMAL]):
            said.append(f"The learned prior is worth {worth} over N(0, I).")
        else:
            said.append(
                f"WARNING: the learned prior is worth {worth} over N(0, I), which is "
                f"not above {ERRORS} standard errors."
            )
    return said


def _below(one: np.ndarray, other: np.ndarray) -> bool:
    gain = estimate_mean(other - one)
    assert gain.standard_error is not None
    return gain.value > ERRORS * gain.standard_error


def _bits(label: str, value: Mapping[str, Any]) -> Metric:
    error = value["standard_error"]
    return Metric(
        label=label,
        value=value["bits_per_char"],
        standard_error=None if math.isnan(error) else error,
        unit="bits/char",
        better="lower",
        note=f"{value['nats']:.2f} nats a text",
    )

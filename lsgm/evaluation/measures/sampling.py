"""What a sample costs: network calls, and seconds of prior and decoder apart."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax

from lsgm.evaluation import timing
from lsgm.evaluation.measures.base import Measure, require_positive
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.reports.ledger import Reproduced
from lsgm.reports.page import Metric
from lsgm.statistics.estimate import Estimate
from lsgm.streams import Use, stream


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingCost(Measure):
    """Network calls and seconds per sample.

    Attributes:
      timing_repeats: timed repetitions, after one that compiles.
    """

    name: ClassVar[str] = "sampling"
    must_agree: ClassVar[tuple[str, ...]] = ("batch_size",)
    card_must_agree: ClassVar[tuple[str, ...]] = ("device",)

    timing_repeats: int = 5

    def __post_init__(self) -> None:
        require_positive(self, "timing_repeats")

    def run(self, run: EvaluationRun) -> Result:
        """Calls of the evaluation's samples, and seconds of batches of their own."""
        subject, generated = run.generator, run.generated
        num, model = subject.settings.batch_size, subject.model
        key, rest_key = jax.random.split(stream(run.seed, Use.SAMPLING_COST))
        latents = jax.jit(
            lambda key: model.prior.sample(
                subject.params, subject.mutables, key, (num, *model.vae.prior_shape)
            )
        )
        rest = model.rest_latents(rest_key, num)
        decode = jax.jit(
            lambda z0: model.decode(subject.params, subject.mutables, z0, rest)
        )
        times = timing.time_sampling(latents, decode, key, self.timing_repeats)
        metrics = {
            "nfe": float(generated.nfe.mean()),
            "nfe_by_batch": sorted(set(generated.nfe.tolist())),
            "num_samples": len(generated.nfe),
            "batch_size": num,
            "seconds_per_sample_prior": times.prior_per_sample,
            "seconds_per_sample_decoder": times.decoder_per_sample,
            "seconds_first_call": times.prior.first + times.decoder.first,
        }
        return Result(metrics=metrics)

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        """Calls, and milliseconds of either part."""
        parts = {"Prior": "prior", "Decoder": "decoder"}
        seconds = [
            Metric(
                label=label,
                value=1e3 * found[f"seconds_per_sample_{part}"],
                unit="ms",
                better="lower",
            )
            for label, part in parts.items()
        ]
        return {"Sampling": [*cls.headline(found), *seconds]}

    @classmethod
    def headline(cls, found: Mapping[str, Any]) -> Sequence[Metric]:
        """Network calls per sample."""
        calls, unit = found["nfe"], "per sample"
        return [Metric(label="Network calls", value=calls, unit=unit, better="lower")]

    @classmethod
    def reproduced(cls, found: Mapping[str, Any]) -> Sequence[Reproduced]:
        """Calls, and seconds, which belong to a device."""
        prior, decoder = (
            found[f"seconds_per_sample_{part}"] for part in ("prior", "decoder")
        )
        return [
            Reproduced(field="nfe", ours=Estimate(value=found["nfe"])),
            Reproduced(
                field="seconds_per_sample",
                ours=Estimate(value=prior + decoder),
                comparable=False,
                note=f"batches of {found['batch_size']}, on another device",
            ),
        ]

"""How well held-out data are reconstructed, where the prior has no bound."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from lsgm.evaluation.measures.base import Measure, Needs, require_positive
from lsgm.evaluation.measures.bound import bound_fn, held_out_terms
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.reports.page import Metric
from lsgm.reports.rows import describe_examples, nats_row


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction(Measure):
    """-log p(x|z) in nats, of latents that the encoder draws.

    Of a prior with a bound it is a term of ``HeldOutBound``, and left out here.

    Attributes:
      num_examples: held-out examples that it is averaged over; None for all.
      num_draws: independent draws of latents per example.
    """

    name: ClassVar[str] = "reconstruction"
    must_agree: ClassVar[tuple[str, ...]] = (
        "split",
        "num_bits",
        "binarize",
        "num_examples",
        "examples_sha256",
    )

    num_examples: int | None = None
    num_draws: int = 4

    def __post_init__(self) -> None:
        require_positive(self, "num_examples", "num_draws")

    @property
    def needs(self) -> Needs:
        """A prior without a bound, and the examples."""
        return Needs(bound=False, num_examples=self.num_examples)

    def run(self, run: EvaluationRun) -> Result:
        """Its mean with its error, and the value of each example."""
        subject = run.subject
        held_out = run.held_out(subject.settings.batch_size, self.num_examples)
        return held_out_terms(run, bound_fn(subject.model), held_out, self.num_draws)

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        """One row."""
        key = "reconstruction/reconstruction"
        row = nats_row("-log p(x|z)", found["reconstruction"], key=key)
        return {f"Reconstruction ({describe_examples(found)})": [row]}

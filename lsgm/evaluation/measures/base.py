"""A measure turns a trained model into numbers with errors, pictures and rows.

Each measure is one file: a frozen dataclass with its settings, that a config names in
``evaluation.measures``. It computes its numbers once (``run``). All that shows them
later, the report's table, its headline, the ledger and the page of comparisons, asks
the class again with the stored numbers, and knows no measure by name.
"""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lsgm.evaluation.parts import Result
from lsgm.reports.ledger import Reproduced
from lsgm.reports.page import Metric


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """What a measure cannot do without.

    Attributes:
      bound: True, a prior with a bound; False, one without; None, either. Of a stage
        with another prior the measure is left out.
      extractor: ``evaluation.extractor``; a config without one is refused.
      num_examples: held-out examples of ``evaluation.split``, under the measure's
        field of this name; None for as many as there are.
      num_images: generated images that are kept for it.
    """

    bound: bool | None = None
    extractor: bool = False
    num_examples: int | None = None
    num_images: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure(abc.ABC):
    """Contract; a subclass's fields are its settings.

    Attributes:
      name: under which ``metrics.json`` holds its numbers.
      must_agree: keys of its numbers, and card_must_agree: fields of the provenance
        card, that have to be the same for two evaluations' numbers to be compared.
    """

    name: ClassVar[str]
    must_agree: ClassVar[tuple[str, ...]] = ()
    card_must_agree: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> Needs:
        """Checked before anything is computed."""
        return Needs()

    @abc.abstractmethod
    def run(self, run: Any) -> Result:
        """Numbers, values by example, and pictures.

        Args:
          run: the ``lsgm.evaluation.subject.EvaluationRun``.
        """

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        """Rows of the report's table, by heading.

        Args:
          found: the numbers that ``run`` returned, as ``metrics.json`` holds them.
        """
        del found
        return {}

    @classmethod
    def headline(cls, found: Mapping[str, Any]) -> Sequence[Metric]:
        """Its numbers on top of the report."""
        del found
        return ()

    @classmethod
    def reproduced(cls, found: Mapping[str, Any]) -> Sequence[Reproduced]:
        """Its numbers that papers publish too."""
        del found
        return ()


def require_positive(measure: Measure, *names: str) -> None:
    """Raise ValueError unless these fields are None or at least 1."""
    for name in names:
        value = getattr(measure, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} = {value}: must be at least 1")


def can_give(measure: Measure, *, has_bound: bool) -> bool:
    """Whether a stage can give this measure: its prior has a bound, or has none."""
    return measure.needs.bound in (None, has_bound)

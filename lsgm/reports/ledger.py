r"""The reproduction ledger: what was published beside what was measured here.

A difference is taken only between figures of the same thing: a Frechet distance under
another extractor or of fewer than 10,000 samples is not FID, seconds belong to a
device, and a scaled-down twin of a published run shares nothing with it but its shape.
What cannot be compared stands in the ledger all the same, with the reason.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from lsgm.reports.page import Metric, format_value
from lsgm.statistics.estimate import Estimate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ledger:
    """Published figures of a run; None where none is known.

    Attributes:
      source: the paper.
      fid: of 50,000 samples or of what the paper took.
      nats, bits_per_dim: bound on -log p(x), per image and per dimension.
      nfe: network calls per sample.
      seconds_per_sample: on the paper's device.
      twin: the run is a scaled-down one, on other data.
    """

    source: str
    fid: float | None = None
    nats: float | None = None
    bits_per_dim: float | None = None
    nfe: float | None = None
    seconds_per_sample: float | None = None
    twin: bool = False


# What a quantity is called, and why it may be missing, by field of ``Ledger``.
QUANTITIES = {
    "fid": ("FID", "the evaluation names no extractor"),
    "nats": ("bound on -log p(x), nats", "the prior has no bound"),
    "bits_per_dim": (
        "bound on -log p(x), bits/dim",
        "the prior has no bound on discrete data",
    ),
    "nfe": ("network calls per sample", "samples were not timed"),
    "seconds_per_sample": ("seconds per sample", "samples were not timed"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reproduced:
    """A number of ours that papers publish too.

    Attributes:
      field: of ``Ledger``.
      comparable: whether it is of the same thing as the published one.
      note: what it is, or why it is not comparable.
    """

    field: str
    ours: Estimate
    comparable: bool = True
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One line of the ledger.

    Attributes:
      published, ours: None where not known or not measured.
      note: what ours is, or why there is no difference.
    """

    quantity: str
    published: float | None
    ours: Estimate | None
    comparable: bool
    note: str = ""

    @property
    def difference(self) -> float | None:
        """Ours less the published one, where both are of the same thing."""
        if not self.comparable or self.published is None or self.ours is None:
            return None
        return self.ours.value - self.published


def entries(ledger: Ledger, reproduced: Sequence[Reproduced]) -> list[LedgerEntry]:
    """Every quantity that was published or measured, in a fixed order."""
    found = {one.field: one for one in reproduced}
    # Binary data are published in nats, all others in bits/dim.
    other = "bits_per_dim" if ledger.bits_per_dim is None else "nats"
    lines = [
        _entry(ledger, field, found.get(field))
        for field in QUANTITIES
        if field != other
    ]
    return [e for e in lines if e.published is not None or e.ours is not None]


def _entry(ledger: Ledger, field: str, found: Reproduced | None) -> LedgerEntry:
    quantity, absent = QUANTITIES[field]
    note = f"not measured: {absent}" if found is None else found.note
    if ledger.twin:
        note = "; ".join(filter(None, (note, "a twin: other data, other size")))
    return LedgerEntry(
        quantity=quantity,
        published=getattr(ledger, field),
        ours=found and found.ours,
        comparable=found is not None and found.comparable and not ledger.twin,
        note=note,
    )


def rows(ledger: Ledger, reproduced: Sequence[Reproduced]) -> dict[str, list[Metric]]:
    """The ledger as a group of the report's table."""
    return {
        f"Reproduction of {ledger.source}": [
            Metric(
                label=entry.quantity,
                value=entry.ours.value,
                standard_error=entry.ours.standard_error,
                note="; ".join(filter(None, (_published(entry), entry.note))),
            )
            for entry in entries(ledger, reproduced)
            if entry.ours is not None
        ]
    }


def _published(entry: LedgerEntry) -> str:
    if entry.published is None:
        return "nothing published"
    text = f"published {format_value(entry.published)}"
    if entry.difference is not None:
        text += f", difference {entry.difference:+.3g}"
    return text


def _format(ours: Estimate) -> str:
    error = ours.standard_error
    text = format_value(ours.value, error)
    return f"{text} ± {format_value(error, error)}" if error else text


def markdown(
    ledger: Ledger, reproduced: Sequence[Reproduced], card: Mapping[str, Any]
) -> str:
    """The ledger as a page of its own, with the card that it belongs to."""
    lines = [
        f"# Reproduction of {ledger.source}",
        "",
        "| quantity | published | here | difference | |",
        "|---|---:|---:|---:|---|",
    ]
    for entry in entries(ledger, reproduced):
        ours = "" if entry.ours is None else _format(entry.ours)
        published = "" if entry.published is None else format_value(entry.published)
        gap = "" if entry.difference is None else f"{entry.difference:+.3g}"
        lines.append(
            f"| {entry.quantity} | {published} | {ours} | {gap} | {entry.note} |"
        )
    lines += [
        "",
        f"{card['title']}: stage {card['stage']}, step {card['step']}, seed "
        f"{card['seed']}, {card['parameters']} parameters; {card['num_samples']} "
        f"samples; {card['device']}. Card {card['card_sha256'][:16]}.",
    ]
    return "\n".join(lines) + "\n"

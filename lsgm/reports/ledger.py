r"""The reproduction ledger: what was published beside what was measured here.

A difference is taken only between figures of the same thing: a Frechet distance under
another extractor or of fewer than 10,000 samples is not FID, seconds belong to a
device, and a scaled-down twin of a published run shares nothing with it but its shape.
What cannot be compared stands in the ledger all the same, with the reason.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lsgm.reports.page import Metric, format_value


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the ledger.

    Attributes:
      published, ours: None where not known or not measured.
      note: what ours is, or why there is no difference.
    """

    quantity: str
    published: float | None
    ours: float | None
    standard_error: float | None = None
    comparable: bool
    note: str = ""

    @property
    def difference(self) -> float | None:
        """Ours less the published one, where both are of the same thing."""
        if not self.comparable or self.published is None or self.ours is None:
            return None
        return self.ours - self.published


def entries(ledger: Ledger, metrics: Mapping[str, Any]) -> list[Entry]:
    """Every quantity that was published or measured, in a fixed order."""
    found = [
        _distance(ledger, metrics.get("distance")),
        *_bound(ledger, metrics.get("bound")),
        *_sampling(ledger, metrics["sampling"]),
    ]
    if ledger.twin:
        found = [_twin(entry) for entry in found]
    return [e for e in found if e.published is not None or e.ours is not None]


def _distance(ledger: Ledger, found: Mapping[str, Any] | None) -> Entry:
    own = (found or {}).get("samples", {}).get("frechet")
    if found is None or own is None:
        return Entry(
            quantity="FID",
            published=ledger.fid,
            ours=None,
            comparable=False,
            note="not measured: the evaluation names no extractor",
        )
    same = found["name"] == "FID"
    return Entry(
        quantity="FID",
        published=ledger.fid,
        ours=own["value"],
        standard_error=own["standard_error"],
        comparable=same,
        note="" if same else f"here {found['name']}, which is another measure",
    )


def _bound(ledger: Ledger, found: Mapping[str, Any] | None) -> list[Entry]:
    if found is None:
        return _no_bound(ledger)
    nats, bits = found["nelbo"], found.get("bits_per_dim")
    note = f"{found['num_bits']}-bit data, {found['num_examples']} images of split "
    note += found["split"]
    in_nats = Entry(
        quantity="bound on -log p(x), nats",
        published=ledger.nats,
        ours=nats["nats"],
        standard_error=nats["standard_error"],
        comparable=True,
        note=note,
    )
    in_bits = Entry(
        quantity="bound on -log p(x), bits/dim",
        published=ledger.bits_per_dim,
        ours=bits,
        standard_error=bits and nats["standard_error"] * bits / nats["nats"],
        comparable=True,
        note=note,
    )
    # Binary data are published in nats, all others in bits/dim.
    return [in_nats] if ledger.bits_per_dim is None else [in_bits]


def _no_bound(ledger: Ledger) -> list[Entry]:
    published = {
        "bound on -log p(x), nats": ledger.nats,
        "bound on -log p(x), bits/dim": ledger.bits_per_dim,
    }
    return [
        Entry(
            quantity=quantity,
            published=value,
            ours=None,
            comparable=False,
            note="not measured: the prior has no bound",
        )
        for quantity, value in published.items()
    ]


def _sampling(ledger: Ledger, found: Mapping[str, Any]) -> list[Entry]:
    seconds = found["seconds_per_sample_prior"] + found["seconds_per_sample_decoder"]
    return [
        Entry(
            quantity="network calls per sample",
            published=ledger.nfe,
            ours=found["nfe"],
            comparable=True,
        ),
        Entry(
            quantity="seconds per sample",
            published=ledger.seconds_per_sample,
            ours=seconds,
            comparable=False,
            note=f"batches of {found['batch_size']}, on another device",
        ),
    ]


def _twin(entry: Entry) -> Entry:
    note = "; ".join(filter(None, (entry.note, "a twin: other data, other size")))
    return dataclasses.replace(entry, comparable=False, note=note)


def rows(ledger: Ledger, metrics: Mapping[str, Any]) -> dict[str, list[Metric]]:
    """The ledger as a group of the report's table."""
    found = [e for e in entries(ledger, metrics) if e.ours is not None]
    return {
        f"Reproduction of {ledger.source}": [
            Metric(
                label=entry.quantity,
                value=entry.ours or 0.0,
                standard_error=entry.standard_error,
                note="; ".join(filter(None, (_published(entry), entry.note))),
            )
            for entry in found
        ]
    }


def _published(entry: Entry) -> str:
    if entry.published is None:
        return "nothing published"
    text = f"published {format_value(entry.published)}"
    if entry.difference is not None:
        text += f", difference {entry.difference:+.3g}"
    return text


def markdown(
    ledger: Ledger, metrics: Mapping[str, Any], card: Mapping[str, Any]
) -> str:
    """The ledger as a page of its own, with the card that it belongs to."""
    lines = [
        f"# Reproduction of {ledger.source}",
        "",
        "| quantity | published | here | difference | |",
        "|---|---:|---:|---:|---|",
    ]
    for entry in entries(ledger, metrics):
        error = entry.standard_error
        ours = "" if entry.ours is None else format_value(entry.ours, error)
        if ours and error:
            ours += f" ± {format_value(error, error)}"
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

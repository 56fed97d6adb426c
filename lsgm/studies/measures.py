"""Quantities of a finished run that a study's page can show, by name.

A name is one of ``MEASURES``, or the dotted path of a number in ``metrics.json``, such
as ``distance.samples.recall``: whatever an evaluation measures, a study can show.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from lsgm.studies.budget import Sizes


class Outcome(NamedTuple):
    """All that is known of a finished run.

    Attributes:
      metrics: what ``metrics.json`` holds.
      skipped: updates that were skipped because they were not finite.
      steps: updates of all stages.
    """

    metrics: Mapping[str, Any]
    sizes: Sizes
    skipped: int
    steps: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number of a run.

    Attributes:
      short: heading of a column.
      read: from an outcome; raises KeyError where it was not measured.
    """

    label: str
    short: str
    unit: str
    read: Callable[[Outcome], float]


def _gain(outcome: Outcome) -> float:
    bound = outcome.metrics["bound"]
    return bound["nelbo_with_normal_prior"]["nats"] - bound["nelbo"]["nats"]


def _reconstruction(outcome: Outcome) -> float:
    metrics = outcome.metrics
    part = "bound" if "bound" in metrics else "reconstruction"
    return metrics[part]["reconstruction"]["nats"]


def _milliseconds(outcome: Outcome) -> float:
    found = outcome.metrics["sampling"]
    parts = ("seconds_per_sample_prior", "seconds_per_sample_decoder")
    return 1e3 * sum(found[part] for part in parts)


MEASURES = {
    "bound": Quantity(
        label="Bound on -log p(x)",
        short="bound",
        unit="nats",
        read=lambda o: o.metrics["bound"]["nelbo"]["nats"],
    ),
    "bits_per_dim": Quantity(
        label="The same",
        short="bound",
        unit="bits/dim",
        read=lambda o: o.metrics["bound"]["bits_per_dim"],
    ),
    "reconstruction": Quantity(
        label="Reconstruction",
        short="reconstruction",
        unit="nats",
        read=_reconstruction,
    ),
    "gain": Quantity(
        label="What the prior gains over N(0, I)",
        short="gain over N(0, I)",
        unit="nats",
        read=_gain,
    ),
    "frechet": Quantity(
        label="Frechet distance",
        short="FD",
        unit="",
        read=lambda o: o.metrics["distance"]["samples"]["frechet"]["value"],
    ),
    "kernel": Quantity(
        label="Kernel distance",
        short="KD",
        unit="",
        read=lambda o: o.metrics["distance"]["samples"]["kernel"]["value"],
    ),
    "calls": Quantity(
        label="Network calls",
        short="calls",
        unit="per sample",
        read=lambda o: o.metrics["sampling"]["nfe"],
    ),
    "milliseconds": Quantity(
        label="Time, prior and decoder",
        short="time",
        unit="ms per sample",
        read=_milliseconds,
    ),
    "latent_dims": Quantity(
        label="Latent dimensions",
        short="latent dimensions",
        unit="",
        read=lambda o: o.sizes.latent_dims,
    ),
    "prior_dims": Quantity(
        label="Latent dimensions under the score prior",
        short="of them under the prior",
        unit="",
        read=lambda o: o.sizes.prior_dims,
    ),
    "parameters": Quantity(
        label="Parameters",
        short="parameters",
        unit="",
        read=lambda o: o.sizes.parameters,
    ),
    "train_flop": Quantity(
        label="Training",
        short="training",
        unit="FLOP",
        read=lambda o: o.sizes.train_flop,
    ),
    "steps": Quantity(
        label="Updates", short="updates", unit="", read=lambda o: o.steps
    ),
    "skipped": Quantity(
        label="Skipped updates (not finite)",
        short="skipped",
        unit="updates",
        read=lambda o: o.skipped,
    ),
}


def find_quantity(name: str) -> Quantity:
    """The quantity of that name or dotted path.

    Raises:
      KeyError: neither a known name nor a path.
    """
    return MEASURES[name] if "." not in name else _at_path(name)


def _at_path(path: str) -> Quantity:
    def read(outcome: Outcome) -> float:
        found: Any = outcome.metrics
        for part in path.split("."):
            if not isinstance(found, Mapping):
                raise KeyError(path)
            found = found[part]
        if isinstance(found, Mapping):
            found = found["value"]
        if not isinstance(found, int | float):
            raise KeyError(path)
        return float(found)

    return Quantity(label=path, short=path, unit="", read=read)


def skipped_updates(records: Sequence[Mapping[str, Any]]) -> int:
    """From a stage's records, each of which holds the share of skipped updates since
    the record before."""
    count, before = 0.0, 0
    for record in records:
        if "skipped" in record:
            count += record["skipped"] * (record["step"] - before)
            before = record["step"]
    return round(count)

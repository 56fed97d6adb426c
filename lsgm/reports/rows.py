"""Rows that several measures share: nats with their error, and bits/dim."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from lsgm.reports.page import Metric


def nats_row(
    label: str,
    estimate: Mapping[str, float],
    note: str = "",
    key: str = "",
    better: Literal["lower"] | None = None,
) -> Metric:
    """A bound or one of its terms.

    Args:
      estimate: ``nats`` and ``standard_error``, NaN of a single example.
      better: "lower" of a bound, None of its terms.
    """
    error = estimate["standard_error"]
    return Metric(
        label=label,
        value=estimate["nats"],
        unit="nats",
        standard_error=None if math.isnan(error) else error,
        better=better,
        note=note,
        key=key,
    )


def bits_rows(
    label: str, values: Mapping[str, Any], found: Mapping[str, Any]
) -> list[Metric]:
    """Bits per unit, of dimensions with the bit depth; no row for a density."""
    # Evaluations of before had one unit, and no error of it.
    per = found.get("unit", "dim")
    if f"bits_per_{per}" not in values:
        return []
    metric = Metric(
        label=label,
        value=values[f"bits_per_{per}"],
        unit=f"bits/{per}" + (f" of {found['num_bits']}-bit data" * (per == "dim")),
        better="lower",
    )
    return [metric]


def describe_examples(found: Mapping[str, Any]) -> str:
    """Which held-out images a number is the mean over, for a heading."""
    return f"{found['num_examples']} images of split {found['split']}"

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
    """bits/dim with the bit depth they belong to; no row for a density."""
    if "bits_per_dim" not in values:
        return []
    unit = f"bits/dim of {found['num_bits']}-bit data"
    value = values["bits_per_dim"]
    return [Metric(label=label, value=value, unit=unit, better="lower")]


def describe_examples(found: Mapping[str, Any]) -> str:
    """Which held-out images a number is the mean over, for a heading."""
    return f"{found['num_examples']} images of split {found['split']}"

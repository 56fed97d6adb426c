"""Estimates as plain numbers, to be gathered in arrays."""

from lsgm.statistics.estimate import Estimate


def pair(found: Estimate) -> tuple[float, float]:
    """Value and standard error."""
    assert found.standard_error is not None
    return found.value, found.standard_error

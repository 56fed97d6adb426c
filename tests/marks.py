"""Which cases of a test run every time."""

from collections.abc import Iterable
from typing import Any

import pytest


def first_fast(cases: Iterable[Any]) -> list:
    """Test parameters of cases of which each takes seconds: the first runs every
    time, the others with the slow tests."""
    first, *others = cases
    return [first, *(pytest.param(case, marks=pytest.mark.slow) for case in others)]

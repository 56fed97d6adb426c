"""The measure that ``docs/extending.md`` shows works as it stands."""

import dataclasses
import pathlib
import re
from typing import ClassVar

import numpy as np
import pytest

from lsgm.evaluation.measures.base import Measure, Needs
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.reports.page import Metric
from lsgm.statistics.estimate import estimate_mean
from tests.evaluation import test_new_measure as other

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "extending.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_own_measure():
    (code,) = [block for block in BLOCKS if "class Brightness" in block]
    scope = dict(
        __name__=__name__,
        ClassVar=ClassVar,
        Measure=Measure,
        Metric=Metric,
        Needs=Needs,
        Result=Result,
        dataclasses=dataclasses,
        estimate_mean=estimate_mean,
        np=np,
    )
    exec(code, scope)
    measure = scope["Brightness"](num_examples=70)
    subject = other.subject_of(measure)
    found = measure.run(EvaluationRun(subject, 0))
    data = subject.data
    levels = [data.example("test", i)["levels"].mean() for i in range(70)]
    np.testing.assert_allclose(found.per_example["level"], levels)
    ((heading, (row,)),) = measure.rows(found.metrics).items()
    assert heading == "Brightness (70 images)"
    assert row.value == pytest.approx(np.mean(levels)) and row.standard_error > 0
    assert set(measure.must_agree) < set(found.metrics)

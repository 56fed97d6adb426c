"""Class numbers are read exactly, or refused with the row."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lsgm.data.errors import DataError
from lsgm.data.sources.arrays import ArrayExamples
from lsgm.data.sources.labels import class_number, class_numbers_by_row
from lsgm.data.sources.parquet import Parquet

GOOD = [
    np.array([0, 2**31 - 1]),
    np.array([[0], [2**31 - 1]], np.uint64),
    [0, 2**31 - 1],
    [[0], [2**31 - 1]],
]
BAD = [
    ([0, 2**40], "row 1: 1099511627776 is no class number: 2147483647 is the largest"),
    (np.array([0, 2**40]), "row 1.*the largest"),
    (np.array([[3], [-1]]), "row 1: -1.*must not be negative"),
    ([0, None], "row 1: None is no class number"),
    (["cat", 0], "row 0: 'cat'"),
    ([[0, 1], [1, 0]], r"row 0: \[0, 1\]"),
    (np.eye(2, dtype=int), "row 0"),
    ([0, 1.5], "row 1: 1.5"),
    ([True, False], "row 0: True"),
]


@pytest.mark.parametrize("values", GOOD)
def test_numbers(values):
    found = class_numbers_by_row(values)
    assert found.dtype == np.int32 and found.tolist() == [0, 2**31 - 1]


@pytest.mark.parametrize("values, words", BAD)
def test_no_numbers(values, words):
    with pytest.raises(ValueError, match=words):
        class_numbers_by_row(values)


def test_no_number_at_all():
    assert class_numbers_by_row([]).shape == (0,)
    assert class_number(np.array([3], np.uint8)) == 3
    assert len(str(pytest.raises(ValueError, class_number, "x" * 10**6).value)) < 100


def test_arrays_of_programs():
    with pytest.raises(DataError, match="labels = 'here': row 1.*largest"):
        images = np.zeros((2, 1, 1, 1), np.uint8)
        ArrayExamples(images=images, labels=np.array([0, 2**40]), place="here")


PARQUET = [
    (pa.array([1, None]), "a-train.parquet, column 'label', row 1: None"),
    (pa.array([1, 2**40]), "row 1: 1099511627776"),
    (pa.array(["a", "b"]), "row 0: 'a'"),
    (pa.array(["a", "b"]).dictionary_encode(), "row 0: 'a'"),
    (pa.array([0.0, 1.0]), "row 0: 0.0"),
    (pa.array([[0, 1], [1, 0]]), r"row 0: \[0, 1\]"),
]


def parquet(root, labels):
    table = pa.table({"image": [b"", b""], "label": labels})
    pq.write_table(table, root / "a-train.parquet")
    return Parquet(root=str(root), labels=True)


@pytest.mark.parametrize("labels, words", PARQUET)
def test_parquet(tmp_path, labels, words):
    with pytest.raises(DataError, match=words) as error:
        parquet(tmp_path, labels).open("train")
    assert error.value.argument == "labels"


@pytest.mark.parametrize("labels", [[3, 1], [[3], [1]]])
def test_parquet_that_is_read(tmp_path, labels):
    found = parquet(tmp_path, pa.array(labels)).open("train").labels
    assert found is not None and found.tolist() == [3, 1]

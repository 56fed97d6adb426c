"""Class numbers, as they are stored, to int32; what is none is refused by its row."""

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

LARGEST = 2**31 - 1


def class_number(value: Any) -> np.int32:
    """One class number.

    Raises:
      ValueError: no whole number, negative, or above ``LARGEST``.
    """
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise ValueError(f"{reprlib.repr(value)} is no class number: 0, 1, ...")
    if value < 0:
        raise ValueError(f"{value} is no class number: they must not be negative")
    if value > LARGEST:
        raise ValueError(f"{value} is no class number: {LARGEST} is the largest")
    return np.int32(value)


def class_numbers_by_row(values: Sequence[Any] | np.ndarray) -> Int32[np.ndarray, " n"]:
    """Class numbers of rows, each a number or a row of one number.

    Raises:
      ValueError: as ``class_number``; names the first row at fault.
    """
    array = values if isinstance(values, np.ndarray) else None
    if array is not None and np.issubdtype(array.dtype, np.integer):
        flat = array.reshape(len(array), -1)
        if flat.shape[1] == 1 and 0 <= flat.min(initial=0):
            if flat.max(initial=0) <= LARGEST:
                return flat[:, 0].astype(np.int32)
    numbers = np.empty(len(values), np.int32)
    for row, value in enumerate(values):
        try:
            single = (
                isinstance(value, list | tuple | np.ndarray) and np.size(value) == 1
            )
            numbers[row] = class_number(np.ravel(value)[0] if single else value)
        except ValueError as error:
            raise ValueError(f"row {row}: {error}") from error
    return numbers

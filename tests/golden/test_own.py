"""Numbers stay: against those that ``tests.golden.own`` has written."""

import numpy as np
import pytest

from tests.golden import own

# Compilers and processors order sums differently; step control magnifies that.
RTOL = {"flows": 2e-3}


@pytest.fixture(scope="module")
def stored():
    with np.load(own.FILE) as file:
        return dict(file)


@pytest.mark.parametrize("name", own.CASES)
def test_numbers_are_those_that_were_written(name, stored):
    found = own.compute(name)
    assert found.keys() == {k for k in stored if k.split("/")[0] == name}
    rtol = RTOL.get(name, 1e-4)
    for path, value in found.items():
        scale = np.abs(stored[path]).max()
        np.testing.assert_allclose(
            value, stored[path], rtol=rtol, atol=rtol * scale / 10, err_msg=path
        )


def test_the_file_is_small():
    assert own.FILE.stat().st_size < 50_000

"""Optional packages: imported, or named with the extra that brings them."""

import json

import pytest

from lsgm.optional import MissingExtra, require


def test_a_package_that_is_there_is_returned():
    assert require("json", "none", "nothing") is json


def test_a_missing_one_is_named_with_its_extra():
    with pytest.raises(MissingExtra) as error:
        require("surely_not_there.inner", "far", "reading stars")
    assert str(error.value) == (
        "reading stars needs the package surely_not_there: pip install '.[far]'"
    )

"""Texts to codes and back, and what counts as a character."""

import numpy as np
import pytest

from lsgm.data.errors import DataError
from lsgm.data.images import Images
from lsgm.data.pipeline import require_kind
from lsgm.data.sources.glosses import Glosses
from lsgm.data.sources.mnist5k import MNIST5k
from lsgm.data.texts import Texts

DATA = Texts(source=Glosses(), alphabet=" abcdé", length=6)


def test_codes_come_back_as_texts():
    texts = ["", "a", "é bcd", " a "]
    codes = DATA.encode(texts)
    assert codes.shape == (4, 6, 1, 1) and codes.dtype == np.uint8
    np.testing.assert_array_equal(codes[2, :, 0, 0], [6, 1, 3, 4, 5, 0])
    assert DATA.view.decode(codes) == texts
    shown = codes.astype(np.float32) / np.float32(DATA.max_level)
    assert DATA.view.texts(shown) == texts
    np.testing.assert_array_equal(DATA.view.arrays(shown)["codes"], codes[..., 0, 0])


def test_a_text_ends_at_its_first_end():
    codes = np.array([[2, 0, 3, 0, 0, 0]], np.uint8)[:, :, None, None]
    assert DATA.view.decode(codes) == ["a"]


def test_units_are_characters_with_one_end():
    codes = DATA.encode(["", "a", "abcda"])
    np.testing.assert_array_equal(DATA.units({"levels": codes}), [1, 2, 6])
    full = np.ones((1, 6, 1, 1), np.uint8)
    np.testing.assert_array_equal(DATA.units({"levels": full}), [6])


@pytest.mark.parametrize(
    "text, argument, words",
    [
        ("abcdab", "length", r"texts\[1\] has 6 characters, and an end"),
        ("axb", "alphabet", r"texts\[1\] has 'x': 'axb'"),
    ],
)
def test_a_text_that_does_not_fit_is_named(text, argument, words):
    with pytest.raises(DataError, match=words) as error:
        DATA.encode(["a", text])
    assert error.value.argument == argument


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(alphabet="aba"), "'a' is there twice"),
        (dict(alphabet=""), "num_classes = 1"),
        (dict(length=1), "length = 1: at least 2"),
    ],
)
def test_impossible_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        Texts(**dict(source=Glosses(), alphabet="ab", length=4) | fields)


def test_pictures_have_a_line_for_each_text():
    shown = DATA.encode(["a", "b", "c"]).astype(np.float32) / DATA.max_level
    three, six = DATA.view.picture(shown), DATA.view.pairs(shown, shown)
    path = DATA.view.path(np.stack([shown, shown]))
    assert three.dtype == np.uint8 and (three < 128).any()
    # Pairs have three lines each, two of text, and paths too; none after the last.
    assert six.shape[0] - three.shape[0] == 5 * (three.shape[0] - 12) // 3
    np.testing.assert_array_equal(path, six)


def test_images_are_no_texts():
    images = Images(source=MNIST5k(), image_shape=(28, 28, 1))
    with pytest.raises(DataError, match="measures texts, and these data are not"):
        require_kind(images, Texts, "evaluation.measures")

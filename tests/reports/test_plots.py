"""Grids put every pixel where it belongs, and PNG files read back unchanged."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lsgm.reports import plots

P = plots.PADDING


def _random(shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def _tile(picture, row, column, size, factor):
    """The image at (row, column) of a grid, brought back to its own size."""
    cell = size * factor + P
    top, left = P + row * cell, P + column * cell
    return picture[top : top + size * factor : factor, left:][
        :, : size * factor : factor
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_stands_in_its_cell(channels):
    images = _random((7, 28, 28, channels))
    picture = plots.grid(images, columns=3)
    expected = np.round(images * 255).astype(np.uint8)
    for i in range(7):
        np.testing.assert_array_equal(_tile(picture, i // 3, i % 3, 28, 2), expected[i])


def test_ground_shows_between_images_and_in_empty_cells():
    picture = plots.grid(np.zeros((3, 64, 64, 1), np.uint8), columns=2)
    cell = 64 + P
    assert picture.shape == (2 * cell + P, 2 * cell + P, 1)
    assert (picture == 0).sum() == 3 * 64 * 64
    assert (picture[:P] == 255).all() and (picture[:, cell : cell + P] == 255).all()
    assert (picture[cell + P :, cell + P :] == 255).all()


@pytest.mark.parametrize("size, factor", [(8, 7), (28, 2), (32, 2), (64, 1), (100, 1)])
def test_small_images_grow_by_whole_factors(size, factor):
    images = _random((1, size, size, 1))
    picture = plots.grid(images)
    assert picture.shape == (size * factor + 2 * P, size * factor + 2 * P, 1)
    blocks = picture[P:-P, P:-P, 0].reshape(size, factor, size, factor)
    assert (blocks == blocks[:, :1, :, :1]).all()


@pytest.mark.parametrize("n, columns", [(1, 1), (4, 2), (5, 3), (64, 8)])
def test_columns_default_to_a_square(n, columns):
    picture = plots.grid(np.zeros((n, 64, 64, 1), np.uint8))
    assert picture.shape[1] == columns * (64 + P) + P


def test_pairs_are_joined_left_and_right():
    first, second = _random((5, 28, 28, 1), 1), _random((5, 28, 28, 1), 2)
    picture = plots.pairs(first, second, columns=2)
    for i in range(5):
        top, left = P + i // 2 * (56 + P), P + i % 2 * (112 + P)
        pair = picture[top : top + 56 : 2, left : left + 112 : 2]
        np.testing.assert_array_equal(pair[:, :28], plots.to_bytes(first)[i])
        np.testing.assert_array_equal(pair[:, 28:], plots.to_bytes(second)[i])


def test_strip_runs_from_noise_on_the_left_one_sample_a_row():
    path = _random((4, 3, 28, 28, 1))
    picture = plots.strip(path)
    for time in range(4):
        for sample in range(3):
            np.testing.assert_array_equal(
                _tile(picture, sample, time, 28, 2),
                plots.to_bytes(path)[time, sample],
            )


def test_bytes_round_to_nearest():
    x = np.array([0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 1]).reshape(1, 1, 5, 1)
    np.testing.assert_array_equal(plots.to_bytes(x).ravel(), [0, 0, 1, 255, 255])
    assert plots.to_bytes(jnp.asarray(x, jnp.float32)).dtype == np.uint8


@pytest.mark.parametrize("channels", [1, 3])
def test_png_reads_back_unchanged(tmp_path, channels):
    images = _random((6, 28, 28, channels))
    plots.save_grid(tmp_path / "grid.png", images, columns=4)
    read = np.asarray(Image.open(io.BytesIO((tmp_path / "grid.png").read_bytes())))
    np.testing.assert_array_equal(
        read.reshape(*read.shape[:2], channels), plots.grid(images, columns=4)
    )


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((0, 8, 8, 1), np.uint8), "no images"),
        (np.zeros((1, 8, 8, 2), np.uint8), "2 channels"),
        (np.full((1, 8, 8, 1), 1.5), r"not within \[0, 1\]"),
        (np.full((1, 8, 8, 1), np.nan), r"not within \[0, 1\]"),
    ],
)
def test_refuses_what_has_no_picture(images, message):
    with pytest.raises(ValueError, match=message):
        plots.grid(images)

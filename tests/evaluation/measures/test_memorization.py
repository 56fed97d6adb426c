"""Nearest neighbours against a tree, copies against what is known of their ranks, and
the sheet's pixels."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from lsgm.evaluation.measures import memorization
from lsgm.evaluation.measures.memorization import (
    Memorization,
    compared,
    neighbours,
    sheet,
)
from lsgm.reports.plots import PADDING
from lsgm.statistics.nearest import Nearest, Neighbours


@pytest.mark.parametrize("cuts", [[], [1, 7, 7, 40]])
@pytest.mark.parametrize("shift", [0.0, 1e5])
def test_nearest_in_a_stream_are_the_nearest_of_all(cuts, shift):
    rng = np.random.default_rng(0)
    queries = shift + rng.normal(size=(9, 4))
    x = shift + rng.normal(size=(60, 4))
    nearest = Nearest(queries, 3)
    for batch in np.split(x, cuts):
        nearest.see(batch)
    distances, indices = cKDTree(x).query(queries, 3)
    found = nearest.found()
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6)


def test_of_equally_near_examples_the_first_stays():
    nearest = Nearest(np.zeros((1, 2)), 2)
    nearest.see(np.array([[3.0, 4.0], [0.0, 1.0]]))
    nearest.see(np.array([[1.0, 0.0], [0.0, -1.0]]))
    found = nearest.found()
    np.testing.assert_array_equal(found.indices, [[1, 2]])
    np.testing.assert_allclose(found.distances, 1)


def test_more_neighbours_than_examples_are_refused():
    nearest = Nearest(np.zeros((1, 2)), 3)
    nearest.see(np.ones((2, 2)))
    with pytest.raises(ValueError, match="2 examples"):
        nearest.found()


def test_share_and_score_are_eqs_2_and_3():
    samples, held_out = np.array([1.0, 2.0, 5.0]), np.array([2.0, 3.0, 4.0, 6.0])
    found = compared(samples, held_out)
    # Pairs with the sample farther: 2 > none, 5 > 2, 3, 4, and one tie.
    u = 3 + 0.5
    assert found["nearer"] == pytest.approx(1 - u / 12)
    spread = np.sqrt(3 * 4 * 8 / 12)
    assert found["z"] == pytest.approx((u - 6) / spread)
    assert (found["median_samples"], found["median_held_out"]) == (2, 3.5)


def test_the_score_is_standard_normal_without_copies():
    rng = np.random.default_rng(0)
    z = [
        compared(rng.exponential(size=80), rng.exponential(size=120))["z"]
        for _ in range(500)
    ]
    assert abs(np.mean(z)) < 0.15 and np.std(z) == pytest.approx(1, abs=0.1)


def _draws(rng, n):
    return rng.random((n, 4, 4, 1)).astype(np.float32)


def _extract(images):
    return 2 * images.reshape(len(images), -1)[:, :5]


def test_copies_are_seen_and_new_images_are_not():
    rng = np.random.default_rng(0)
    train, held_out, new = _draws(rng, 300), _draws(rng, 60), _draws(rng, 60)
    copies = (train[:60] + 0.01 * _draws(rng, 60)).clip(0, 1)
    z = {}
    for name, samples in (("new", new), ("copies", copies)):
        images = np.concatenate([samples, held_out])
        found = neighbours(images, np.array_split(train, 7), _extract, 2)
        for space, near in found.items():
            ours, theirs = near.distances[:60, 0], near.distances[60:, 0]
            z[name, space] = compared(ours, theirs)["z"]
        if name == "copies":
            for near in found.values():
                np.testing.assert_array_equal(near.indices[:60, 0], np.arange(60))
    for space in ("features", "pixels"):
        assert abs(z["new", space]) < 3 and z["copies", space] < -7


def test_sheet_shows_the_nearest_samples_beside_their_neighbours():
    """One column of tiles: sample, gap, two training images, gap, in pixels of the
    enlarged picture."""
    samples = np.stack([np.full((8, 8, 1), v, np.float32) for v in (0.0, 0.2, 0.4)])
    train = np.stack([np.full((8, 8, 1), v, np.uint8) for v in (90, 100, 110, 120)])
    distances = np.array([[3.0, 4], [1, 2], [2, 5]])
    indices = np.array([[0, 1], [2, 3], [1, 0]])
    found = {"pixels": Neighbours(distances, indices)}
    section = sheet(samples, found, lambda i: train[i], num_shown=2)
    picture = np.asarray(Image.open(io.BytesIO(section.figures[0].png)))
    factor = (picture.shape[0] - 2 * PADDING) // 8
    row = picture[PADDING + 4 * factor, PADDING:][:: factor or 1]
    # A tile is 8 + 1 + 16 + 2 wide: the second sample comes first, then the third.
    assert list(row[[0, 8, 9, 17, 25]]) == [51, 255, 110, 120, 255]
    wide = 27 * factor + PADDING
    second = picture[PADDING + 4 * factor, PADDING + wide :][::factor]
    assert list(second[[0, 8, 9, 17]]) == [102, 255, 100, 90]
    assert picture.shape[1] == 2 * wide + PADDING
    assert "2 nearest training images" in section.figures[0].caption


def test_settings():
    with pytest.raises(ValueError, match="num_shown = 0"):
        Memorization(num_shown=0)
    first = memorization.of_first(Neighbours(np.ones((3, 1)), np.ones((3, 1), int)), 2)
    assert len(first.distances) == len(first.indices) == 2

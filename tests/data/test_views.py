"""Views: images as they are, points where they belong."""

import numpy as np

from lsgm.data.views import DOT, INK, PALE, SIDE, ImageView, PlaneView
from lsgm.reports import plots


def test_images_are_grids_and_bytes():
    images = np.random.default_rng(0).random((5, 4, 4, 1))
    view = ImageView()
    np.testing.assert_array_equal(view.picture(images, 3), plots.grid(images, 3))
    assert view.texts(images) is None
    assert view.arrays(images)["images"].dtype == np.uint8


def test_points_stand_where_they_belong():
    """x to the right, y upwards; what lies outside, or is not finite, is left out."""
    view = PlaneView(extent=2.0)
    points = np.array([(2, 2), (-2, -2), (0, 1), (3, 0), (np.nan, 0)], np.float32)
    picture = view.picture(points.reshape(-1, 1, 1, 2))
    assert picture.shape == (SIDE, SIDE, 3)
    dark = (picture == INK).all(-1)
    assert dark.sum() == 3 * DOT**2
    assert dark[0, -1] and dark[-1, 0]
    rows, columns = np.nonzero(dark[: SIDE // 2, : SIDE - DOT])
    assert abs(columns.mean() - SIDE / 2) < 1.5 and abs(rows.mean() - SIDE / 4) < 1.5


def test_reconstructions_stand_over_pale_data():
    view = PlaneView(extent=1.0)
    real, decoded = np.zeros((2, 1, 1, 2)), np.zeros((2, 1, 1, 2))
    real[0] += 0.5
    picture = view.pairs(real, decoded)
    assert (picture == PALE).all(-1).sum() == (picture == INK).all(-1).sum() == DOT**2
    np.testing.assert_array_equal(view.arrays(real)["points"], real.reshape(-1, 2))


def test_a_path_has_a_square_for_each_time():
    path = np.zeros((3, 2, 1, 1, 2))
    picture = PlaneView(extent=1.0).path(path)
    assert picture.shape[1] == 3 * (SIDE + plots.PADDING) + plots.PADDING

"""Points of the plane: the densities that they are said to have, by seed."""

import numpy as np
import pytest

from lsgm.data.errors import DataError
from lsgm.data.points import SETS, Points

NUM = 200_000


def drawn(name, **fields):
    data = Points(name=name, num_train=NUM, **fields)
    return data.open("train").take(np.arange(NUM))["x"].reshape(-1, 2)


@pytest.mark.parametrize("name", SETS)
def test_coordinates_have_unit_mean_square(name):
    """The constants are exact: the error of a mean of 400,000 is below 0.3 %."""
    assert np.mean(drawn(name) ** 2) == pytest.approx(1, rel=5e-3)


@pytest.mark.parametrize(
    "name, num, deviation", [("gaussians", 25, 0.05), ("diamond", 9, 0.04)]
)
def test_modes_are_as_many_as_wide_and_as_heavy_as_said(name, num, deviation):
    x = drawn(name) * SETS[name][1]
    if name == "diamond":
        x = 2 * x @ np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    modes = np.round(x)
    counts = np.unique(modes, axis=0, return_counts=True)[1]
    assert len(counts) == num
    np.testing.assert_allclose(counts / NUM, 1 / num, rtol=0.05)
    width = np.std(x - modes) / (2 if name == "diamond" else 1)
    assert width == pytest.approx(deviation, rel=0.02)


def test_moons_lie_on_half_circles():
    x = drawn("moons") * SETS["moons"][1]
    upper = np.linalg.norm(x - [-0.5, -0.25], axis=1)
    lower = np.linalg.norm(x - [0.5, 0.25], axis=1)
    radius = np.where(abs(upper - 1) < abs(lower - 1), upper, lower)
    assert radius.std() == pytest.approx(0.05, rel=0.1)
    assert abs(radius.mean() - 1) < 0.01


def test_rolls_have_five_middles_and_their_radii():
    x = drawn("swiss_rolls") * SETS["swiss_rolls"][1]
    middles = 0.8 * np.array([(0, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)])
    radii = np.linalg.norm(x[:, None] - middles, axis=-1).min(1) / 0.01
    assert 1.5 * np.pi - 1 < radii.min() and radii.max() < 4.5 * np.pi + 1
    assert np.mean(radii**2) == pytest.approx(9.75 * np.pi**2 + 2 * 0.2**2, rel=0.01)


def test_splits_and_seeds_differ_and_repeat():
    def first(seed, split):
        return Points(name="moons", seed=seed).open(split).take(np.arange(3))["x"]

    same = first(0, "train"), first(0, "train")
    np.testing.assert_array_equal(*same)
    assert not np.array_equal(first(0, "train"), first(0, "test"))
    assert not np.array_equal(first(0, "train"), first(1, "train"))


def test_batches_hold_x_alone_and_are_functions_of_seed_and_step():
    data = Points(name="diamond", num_train=100)
    batch = data.train_batches(0, 8).batch(3)
    assert set(batch) == {"x"} and batch["x"].shape == (8, 1, 1, 2)
    np.testing.assert_array_equal(batch["x"], data.train_batches(0, 8).batch(3)["x"])
    assert data.eval_batches("test", 8, 11).batch(1)["mask"].sum() == 3
    np.testing.assert_array_equal(data.units(batch), np.full(8, 2.0))


def test_wrong_names_are_refused():
    with pytest.raises(DataError, match="did you mean 'test'"):
        Points(name="moons").open("tset")
    with pytest.raises(ValueError, match="num_train = 0"):
        Points(name="moons", num_train=0)


def test_modes_are_where_the_points_are():
    """Of every set that names some: all points within five deviations, evenly."""
    named = {}
    for name in SETS:
        data = Points(name=name, num_train=4000)
        if data.modes is None:
            continue
        centers, deviation = data.modes
        points = data.open("train").points.reshape(-1, 2)
        distance = np.linalg.norm(points[:, None] - centers[None], axis=-1)
        assert distance.min(1).max() < 6 * deviation
        counts = np.bincount(distance.argmin(1), minlength=len(centers))
        assert counts.min() > 0.6 * 4000 / len(centers)
        spread = np.sqrt((distance.min(1) ** 2).mean() / 2)
        assert spread == pytest.approx(deviation, rel=0.05)
        named[name] = len(centers)
    assert named == {"gaussians": 25, "diamond": 9}

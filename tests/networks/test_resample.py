"""Resampling: the filter's formulas per axis, adjoints, and what is preserved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.networks import resample

FIR = pytest.mark.parametrize("fir", [False, True])


def random(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def along(axis, fn, x):
    """``fn`` of 1-D arrays applied along one axis, in NumPy."""
    return np.apply_along_axis(fn, axis, np.asarray(x, np.float64))


def at(x, i):
    return x[i] if 0 <= i < len(x) else 0.0


def down_formula(x):
    taps = ((-1, 1), (0, 3), (1, 3), (2, 1))
    half = range(len(x) // 2)
    return np.array([sum(w * at(x, 2 * i + k) for k, w in taps) / 8 for i in half])


def up_formula(x):
    pairs = [
        (at(x, i - 1) / 4 + 3 * x[i] / 4, 3 * x[i] / 4 + at(x, i + 1) / 4)
        for i in range(len(x))
    ]
    return np.ravel(pairs)


def smooth_formula(x):
    taps = ((-2, 1), (-1, 3), (0, 3), (1, 1))
    return np.array(
        [sum(w * at(x, i + k) for k, w in taps) / 8 for i in range(len(x) + 1)]
    )


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize(
    "ours, formula",
    [
        (resample.fir_down, down_formula),
        (resample.fir_up, up_formula),
        (resample.fir_smooth, smooth_formula),
        (resample.mean_down, lambda x: x.reshape(-1, 2).mean(axis=1)),
    ],
)
def test_formula_on_each_axis(ours, formula, axis):
    x = random(0, 2, 6, 8, 3)
    np.testing.assert_allclose(ours(x, axis), along(axis, formula, x), atol=1e-6)


@FIR
def test_both_axes_in_turn(fir):
    x = random(1, 2, 4, 6, 3)
    rows = resample.fir_down if fir else resample.mean_down
    expected = rows(rows(x, 2), 1)
    np.testing.assert_allclose(resample.down(x, fir=fir), expected, atol=1e-6)
    assert resample.up(x, fir=fir).shape == (2, 8, 12, 3)


@FIR
def test_up_is_four_times_the_adjoint_of_down(fir):
    fine, coarse = random(2, 1, 8, 6, 2), random(3, 1, 4, 3, 2)
    left = float(jnp.vdot(resample.down(fine, fir=fir), coarse))
    right = float(jnp.vdot(fine, resample.up(coarse, fir=fir))) / 4
    assert left == pytest.approx(right, rel=1e-5)


def test_down_undoes_repetition():
    x = random(4, 1, 4, 4, 2)
    back = resample.down(resample.up(x, fir=False), fir=False)
    np.testing.assert_allclose(back, x, rtol=1e-6)


def test_filter_preserves_constants_inside():
    x = jnp.ones((1, 6, 6, 1))
    inside = (slice(None), slice(1, -1), slice(1, -1))
    for y in (resample.down(x, fir=True), resample.up(x, fir=True)):
        np.testing.assert_allclose(y[inside], 1.0, rtol=1e-6)


def test_down_is_every_other_entry_of_smooth():
    x = random(5, 1, 8, 2, 1)
    smooth = resample.fir_smooth(x, 1)
    np.testing.assert_allclose(resample.fir_down(x, 1), smooth[:, 1::2], atol=1e-6)


def test_interleave_inverts_phases():
    x = random(6, 2, 3, 8, 2)
    back = resample.interleave(*resample.phases(x, 2), 2)
    np.testing.assert_array_equal(back, x)

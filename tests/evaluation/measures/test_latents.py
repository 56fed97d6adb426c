"""Statistics of latents against those of a posterior that is known."""

import jax
import numpy as np
import pytest

from lsgm.evaluation.measures import latents
from lsgm.model import LatentModel
from lsgm.priors.normal import StandardNormal
from lsgm.reports.page import png_size
from tests.evaluation import linear

SLOPE, WIDTH, NUM = 0.8, 0.6, 4000
UNITS = 4


@pytest.fixture(scope="module")
def groups():
    vae = linear.vae(gain=1.0, finer=0.0, slope=SLOPE, width=WIDTH)
    model = LatentModel(vae=vae, prior=StandardNormal())
    empty = {"vae": {}}
    carried = {"vae": {"batch_stats": {}}}
    batches = linear.batches(NUM, 1500)
    return latents.groups_of(model, empty, carried, batches, jax.random.key(0))


def test_moments_are_those_of_the_aggregate_posterior(groups):
    x = 2.0 * linear.images(NUM).reshape(NUM, UNITS) / 255 - 1
    row = latents.describe(groups[0])
    assert (row["scale"], row["group"], row["num_examples"]) == (0, 0, NUM)
    variance = SLOPE**2 * x.var() + WIDTH**2
    error = 4 / (NUM * UNITS) ** 0.5
    assert row["mean"] == pytest.approx(SLOPE * x.mean(), abs=error)
    assert row["std"] == pytest.approx(variance**0.5, rel=error)
    kl = 0.5 * (SLOPE**2 * x**2 + WIDTH**2 - 1) - np.log(WIDTH)
    assert row["kl_nats"] == pytest.approx(UNITS * kl.mean(), abs=0.05)
    assert row["active_units"] == row["units"] == UNITS
    # A uniform variable beside a Normal one: excess -1.2 of the uniform's share.
    excess = -1.2 * (SLOPE**2 / 3 / variance) ** 2
    assert row["excess_kurtosis"] == pytest.approx(excess, abs=0.15)


def test_a_group_that_ignores_the_image_is_called_collapsed(groups):
    row = latents.describe(groups[1])
    assert (row["scale"], row["active_units"]) == (1, 0)
    assert row["kl_nats"] == pytest.approx(0, abs=1e-5)
    assert row["ks_statistic"] < 0.015
    assert row["std"] == pytest.approx(1, abs=0.03)
    (warning,) = latents.warnings_of(row)
    assert "collapsed: 0 of 4 units active" in warning


def _row(scale=0, **moments):
    rng = np.random.default_rng(1)
    z = rng.normal(moments.get("mean", 0), moments.get("std", 1), (3000, 4))
    if moments.get("square"):
        z = (z**2 - 1) / 2**0.5
    kl = np.full(3000, 1.0)
    return latents.describe(latents.LatentGroup(scale, 0, z, z, kl, 2))


@pytest.mark.parametrize(
    "fields, words",
    [
        (dict(std=0.4), "latent scale far from 1"),
        (dict(std=2.0), "the mixed score assumes unit variance"),
        (dict(std=2.0, scale=1), "its prior is N(0, I)"),
        (dict(mean=0.5), "mean far off 0"),
        (dict(square=True), "far from Normal (skew 2."),
    ],
)
def test_warnings_in_words(fields, words):
    (warning,) = latents.warnings_of(_row(**fields))
    assert words in warning


def test_normal_latents_give_no_warning():
    assert not latents.warnings_of(_row())


def test_picture_is_a_png(groups):
    width, height = png_size(latents.picture(groups))
    assert width >= 800 and height >= 300

"""Modes of stacked digits, read by the classifier that the package ships."""

import numpy as np
import pytest

from lsgm.data.sources.mnist5k import MNIST5k
from lsgm.evaluation.measures.modes import StackedModeCoverage, read_triples
from lsgm.evaluation.subject import EvaluationRun
from lsgm.features.classifier import ClassifierFeatures
from lsgm.statistics.modes import count_coverage

NUM, BORDER = 120, 2


@pytest.fixture(scope="module")
def stacked():
    """Held-out digits in three colours, with a border, [n 32 32 3]; their numbers."""
    held_out = MNIST5k().open("test")
    digits = held_out.images[: 3 * NUM].astype(np.float32).reshape(NUM, 3, 28, 28) / 255
    border = ((0, 0), (BORDER, BORDER), (BORDER, BORDER), (0, 0))
    images = np.pad(np.moveaxis(digits, 1, -1), border)
    numbers = held_out.labels[: 3 * NUM].reshape(NUM, 3) @ [100, 10, 1]
    return images, numbers


def test_digits_are_read_in_the_order_of_the_colours(stacked):
    images, numbers = stacked
    found = read_triples(images, ClassifierFeatures())
    assert np.mean(found == numbers) > 0.85
    turned = read_triples(images[..., ::-1], ClassifierFeatures())
    backwards = numbers % 10 * 100 + numbers // 10 % 10 * 10 + numbers // 100
    assert np.mean(turned == backwards) > 0.85
    assert np.mean(turned == numbers) < 0.3


def test_coverage_counts_the_triples_that_appear(stacked):
    images, numbers = stacked
    run = object.__new__(EvaluationRun)  # unused: the classifier alone decides
    labels, num_modes = StackedModeCoverage().assign(run, images)
    assert num_modes == 1000
    found = count_coverage(labels, num_modes)
    assert found.near == 1
    assert found.covered == pytest.approx(len(np.unique(numbers)), rel=0.05)
    same = count_coverage(labels[:1].repeat(NUM), num_modes)
    assert same.covered == 1
    assert same.kl_to_uniform == pytest.approx(np.log(1000), rel=1e-6)

"""Levels: the bit formula, Bernoulli pixels, flips, and addressed randomness."""

import numpy as np
import pytest

from lsgm.data.draws import Draws, permutation
from lsgm.data.transforms import Binarize, Flip, ReduceBits


def draws(start=0, count=1, seed=0):
    return Draws(seed=seed, start=start, count=count)


@pytest.mark.parametrize("bits", range(1, 9))
def test_bit_reduction_is_the_formula(bits):
    """Eq. (1), and the published floor(255 x / 2^(8 - b)) for x = byte / 255."""
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    levels = ReduceBits(num_bits=bits)(images, draws())
    expected = np.floor(255 * (images / 255) / 2 ** (8 - bits) + 1e-9)
    np.testing.assert_array_equal(levels, expected)
    assert levels.dtype == np.uint8 and levels.max() == 2**bits - 1


def test_binarised_mean_is_the_intensity():
    """Eq. (2): every byte value within 4.5 standard errors over 40,000 draws."""
    n = 40_000
    images = np.broadcast_to(np.arange(256, dtype=np.uint8), (n, 256))
    levels = Binarize()(images.reshape(n, 16, 16, 1), draws(count=n))
    mean, p = levels.reshape(n, 256).mean(0), np.arange(256) / 255
    error = np.sqrt(p * (1 - p) / n)
    assert np.all(np.abs(mean - p) <= 4.5 * error)  # exact at 0 and at 255
    assert set(np.unique(levels)) == {0, 1}


def test_binarised_pixels_are_independent():
    """Correlation of neighbours, in the image and in the batch, is noise."""
    n = 2000
    images = np.full((n, 8, 8, 1), 128, np.uint8)
    levels = Binarize()(images, draws(count=n)).reshape(n, 64).astype(float) - 128 / 255
    for product in (levels[:, 1:] * levels[:, :-1], levels[1:] * levels[:-1]):
        assert abs(product.mean()) < 4.5 * 0.25 / np.sqrt(product.size)


def test_flips_are_fair_and_whole():
    images = np.arange(12, dtype=np.uint8).reshape(1, 2, 3, 2).repeat(4000, axis=0)
    out = Flip()(images, draws(count=4000))
    flipped = np.all(out == images[:, :, ::-1], axis=(1, 2, 3))
    kept = np.all(out == images, axis=(1, 2, 3))
    assert np.all(flipped ^ kept)
    assert abs(flipped.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(4000)


@pytest.mark.parametrize("size", [1, 8, 9, 784])
def test_words_belong_to_the_position(size):
    """draws, Eq. (1): batches of one and of many read the same words."""
    together = draws(start=10, count=6).words(3, size)
    alone = [draws(start=10 + i).words(3, size)[0] for i in range(6)]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_seeds_streams_and_positions_differ():
    reads = [
        draws(seed=seed, start=start).words(stream, 64)[0]
        for seed in (0, 1)
        for start in (0, 1)
        for stream in (0, 1)
    ]
    assert len({read.tobytes() for read in reads}) == 8
    assert len(set(np.concatenate(reads).tolist())) == 8 * 64


def test_permutation_is_one_and_never_repeats():
    """Neighbouring seeds and epochs share no order."""
    orders = [permutation(seed, epoch, 50) for seed in range(4) for epoch in range(4)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(50))
    assert len({order.tobytes() for order in orders}) == 16

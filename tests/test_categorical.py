"""Categorical likelihoods: they sum to one, and codes come back."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import numerics
from lsgm.categorical import CategoricalLikelihood, Sequential, to_x
from lsgm.distributions import BernoulliLikelihood

K, N = 5, 3
EVERY = np.array(list(itertools.product(range(K), repeat=N)))


def sequences(codes, num_classes=K):
    """x [b n 1 1] of codes [b n]."""
    return to_x(jnp.asarray(codes)[:, :, None, None], num_classes - 1)


def logits(*shape, seed=0):
    return 2.0 * jax.random.normal(jax.random.key(seed), shape)


def log_probs(distribution_of, x):
    """Of each x, summed over places."""
    return np.asarray(distribution_of(len(x)).log_prob(x).sum((1, 2)), np.float64)


def test_all_sequences_sum_to_one():
    likelihood = CategoricalLikelihood(num_classes=K)
    out = logits(1, N, 1, K)

    def tiled(num):
        return likelihood.distribution(jnp.tile(out, (num, 1, 1, 1)))

    total = np.exp(log_probs(tiled, sequences(EVERY))).sum()
    assert total == pytest.approx(1, abs=1e-5)


def test_allowed_sequences_sum_to_one_and_others_have_nothing():
    likelihood = CategoricalLikelihood(num_classes=K, allowed=((1, 5), (2, 3)))
    out = logits(1, N, 1, K)

    def tiled(num):
        return likelihood.distribution(jnp.tile(out, (num, 1, 1, 1)))

    probs = np.exp(log_probs(tiled, sequences(EVERY)))
    fits = (EVERY[:, 1:] < 3).all(1)
    assert fits.sum() == 45 and probs[fits].sum() == pytest.approx(1, abs=1e-5)
    assert not probs[~fits].any()
    drawn = tiled(500).sample(jax.random.key(1))
    assert int(numerics.to_codes(drawn, K - 1)[:, 1:].max()) == 2

    def loss(out):
        return likelihood.distribution(out).log_prob(sequences(EVERY[:1])).sum()

    gradient = jax.grad(loss)(out)
    assert np.isfinite(gradient).all() and not gradient[0, 1:, 0, 3:].any()


def test_all_channels_are_counted():
    """Two channels of a 1 x 2 image: 3^4 images."""
    likelihood = CategoricalLikelihood(num_classes=3)
    assert likelihood.num_outputs(2) == 6
    codes = np.array(list(itertools.product(range(3), repeat=4)))
    x = to_x(jnp.asarray(codes.reshape(-1, 1, 2, 2)), 2)
    out = jnp.tile(logits(1, 1, 2, 6), (81, 1, 1, 1))
    found = likelihood.distribution(out).log_prob(x)
    assert found.shape == (81, 1, 2)
    assert np.exp(found.sum((1, 2))).sum() == pytest.approx(1, abs=1e-5)


def test_mean_is_the_mode_and_draws_have_the_probabilities():
    likelihood = CategoricalLikelihood(num_classes=K)
    out = logits(1, 1, 1, K, seed=3)
    distribution = likelihood.distribution(jnp.tile(out, (20_000, 1, 1, 1)))
    mode = numerics.to_codes(distribution.mean(), K - 1)
    assert (np.asarray(mode) == int(out.argmax())).all()
    drawn = numerics.to_codes(distribution.sample(jax.random.key(0)), K - 1)
    frequency = np.bincount(np.asarray(drawn).ravel(), minlength=K) / 20_000
    np.testing.assert_allclose(frequency, jax.nn.softmax(out).ravel(), atol=0.015)


def test_codes_survive_for_every_number_of_classes():
    """From levels to x and back, as a shown value, and as a byte of an image file."""
    for num_classes in range(2, 257):
        top = num_classes - 1
        # Of one shape for all, so that nothing is compiled anew.
        codes = np.minimum(np.arange(256), top)
        x = 2.0 * codes.astype(np.float32) / np.float32(top) - np.float32(1.0)
        x = jnp.asarray(x.reshape(1, -1, 1, 1))
        likelihood = CategoricalLikelihood(num_classes=num_classes)
        assert likelihood.max_level == top and 2**likelihood.num_bits >= num_classes
        assert 2 ** (likelihood.num_bits - 1) < num_classes
        found = np.asarray(numerics.to_codes(x, top)).ravel()
        np.testing.assert_array_equal(found, codes)
        shown = np.asarray(likelihood.shown(x)).ravel()
        np.testing.assert_array_equal(np.rint(shown * top), codes)
        stored = np.round(255 * shown.astype(np.float64)).astype(np.uint8)
        np.testing.assert_array_equal(np.rint(stored / 255 * top), codes)


def sequential(num, context=2, allowed=()):
    """A head of random numbers: logits by place and by the codes before it."""
    table = 1.5 * logits(N, (K + 1) ** context, K, seed=5)

    def head(features, before):
        place = features[..., 0].astype(jnp.int32)
        row = (before * (K + 1) ** jnp.arange(context)[None, None]).sum(-1)
        return table[place, row]

    return Sequential(
        features=jnp.tile(jnp.arange(N, dtype=jnp.float32)[None, :, None], (num, 1, 1)),
        head=head,
        context=context,
        likelihood=CategoricalLikelihood(num_classes=K, allowed=allowed),
    )


@pytest.mark.parametrize("allowed", [(), ((1, 5), (2, 3))])
def test_sequential_sums_to_one_and_is_what_is_drawn(allowed):
    probs = np.exp(
        log_probs(lambda num: sequential(num, allowed=allowed), sequences(EVERY))
    )
    assert probs.sum() == pytest.approx(1, abs=1e-5)
    num = 20_000
    drawn = sequential(num, allowed=allowed).sample(jax.random.key(2))
    codes = np.asarray(numerics.to_codes(drawn, K - 1))[..., 0, 0]
    counts = np.bincount(codes @ [K**2, K, 1], minlength=K**N)
    # Pearson's statistic over the sequences that are not rare.
    common = probs > 5 / num
    chi = ((counts - num * probs)[common] ** 2 / (num * probs[common])).sum()
    assert chi < common.sum() + 4 * np.sqrt(2 * common.sum())


def test_sequential_mean_takes_the_likeliest_symbol_each_time():
    distribution = sequential(1)
    codes = []
    for i in range(N):
        padded = np.full((1, N), 0)
        padded[0, : len(codes)] = codes
        each = [
            distribution.log_prob(sequences(np.where(np.arange(N) == i, k, padded)))
            for k in range(K)
        ]
        codes.append(int(np.argmax([float(e[0, i, 0]) for e in each])))
    found = numerics.to_codes(distribution.mean(), K - 1).ravel()
    np.testing.assert_array_equal(found, codes)


def test_a_draw_depends_on_nothing_before_its_window():
    """With two symbols before it: changing the first of four leaves the fourth."""
    codes = jnp.arange(8).reshape(2, 4)
    before = np.asarray(numerics.previous(codes, 2, 9))
    np.testing.assert_array_equal(before[0], [[9, 9], [9, 0], [0, 1], [1, 2]])
    assert numerics.previous(codes, 0, 9).shape == (2, 4, 0)


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(num_classes=1), "num_classes = 1: allowed are 2 to 256"),
        (dict(num_classes=257), "num_classes = 257"),
        (dict(num_classes=4, allowed=((3, 5),)), "classes from 1 to 4"),
        (dict(num_classes=4, allowed=((0, 2),)), "places >= 1"),
    ],
)
def test_what_is_impossible_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        CategoricalLikelihood(**fields)


def test_runs_of_another_length_are_refused():
    likelihood = CategoricalLikelihood(num_classes=4, allowed=((3, 2),))
    with pytest.raises(ValueError, match="3 places, and the data have 4"):
        likelihood.distribution(jnp.zeros((1, 4, 1, 4)))


def test_two_classes_are_a_bernoulli():
    logit = logits(2, 3, 3, 1)
    on = jax.random.bernoulli(jax.random.key(1), 0.5, logit.shape)
    x = 2.0 * on.astype(jnp.float32) - 1.0
    out = jnp.concatenate([jnp.zeros_like(logit), logit], -1)
    found = CategoricalLikelihood(num_classes=2).distribution(out).log_prob(x)
    expected = BernoulliLikelihood().distribution(logit).log_prob(x)
    np.testing.assert_allclose(found, expected, atol=1e-5)

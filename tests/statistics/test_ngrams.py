"""n-gram models are distributions, and those of the literature."""

import itertools
import math

import numpy as np
import pytest

from lsgm.data.sources.glosses import Glosses
from lsgm.statistics.ngrams import (
    END,
    START,
    KneserNey,
    independent_log_prob,
    ngram_distance,
)
from lsgm.statistics.texts import count_ngrams, distinct, share_known, words_of

TEXTS = ["banana", "bandana", "cabana", "abba", "a", "cab", "dab", "nab"]
SYMBOLS = ["a", "b", "c", "d", "n", "z", END]


@pytest.mark.parametrize("order", range(1, 7))
def test_every_context_sums_to_one(order):
    """Contexts of any length, seen and unseen; z was never seen."""
    model = KneserNey(TEXTS, order, len(SYMBOLS))
    rng = np.random.default_rng(order)
    alphabet = [*SYMBOLS[:-1], START]
    for _ in range(100):
        context = "".join(rng.choice(alphabet, order - 1))
        total = math.fsum(model.prob(context + x) for x in SYMBOLS)
        assert total == pytest.approx(1, abs=1e-9)
        assert min(model.prob(context + x) for x in SYMBOLS) > 0


def test_all_texts_sum_to_one():
    """Those of up to 3 symbols, and the mass that goes on after them."""
    model = KneserNey(TEXTS, 2, len(SYMBOLS))
    letters = SYMBOLS[:-1]
    ended = sum(
        np.exp(
            model.log_prob(["".join(w) for w in itertools.product(letters, repeat=n)])
        ).sum()
        for n in range(4)
    )
    beyond = sum(
        math.prod(model.prob(a + b) for a, b in itertools.pairwise((START, *w)))
        for w in itertools.product(letters, repeat=4)
    )
    assert ended + beyond == pytest.approx(1, abs=1e-9)


def test_a_bigram_by_hand():
    """Texts ab, ab, ac: three bigrams each of start, a, b and c; Eq. (1)."""
    model = KneserNey(["ab", "ab", "ac"], 2, 4)
    # Bigrams: <a 3, ab 2, ac 1, b$ 2, c$ 1: n_1 = n_2 = 2, n_3 = 1, so Y = 1/3,
    # D_1 = 1 - 2/3, D_2 = 2 - 1/2; no count of 4 counts as one: D_3 = 3 - 4/3.
    # Below them: a 1, b 1, c 1, $ 2 contexts: n_1 = 3, n_2 = 1, so Y = 3/5.
    y = 3 / 5
    one, two = 1 - 2 * y / 3, 2 - 3 * y
    uniform = (3 * one + two) / 5 / 4
    of_b, of_end = (1 - one) / 5 + uniform, (2 - two) / 5 + uniform
    assert model.prob("b") == pytest.approx(of_b)
    assert model.prob(END) == pytest.approx(of_end)
    spared = (1.5 + 1 / 3) / 3
    assert model.prob("ab") == pytest.approx((2 - 1.5) / 3 + spared * of_b)
    assert model.prob("a" + END) == pytest.approx(spared * of_end)


def test_published_figures_of_the_glosses():
    """nats a text of orders 1 to 3, and of 64 independent places."""
    test, train = (Glosses().open(split).texts for split in ("test", "train"))
    for order, nats in ((1, 112.17), (2, 92.19), (3, 75.35)):
        found = -KneserNey(train, order, 32).log_prob(test).mean()
        assert found == pytest.approx(nats, abs=0.005)


def test_independent_places_are_a_distribution():
    train = np.array([[0, 1], [2, 1], [2, 0]], np.uint8)
    every = np.array(list(itertools.product(range(3), repeat=2)), np.uint8)
    probs = np.exp(independent_log_prob(train, every, 3))
    assert probs.sum() == pytest.approx(1)
    # (2, 1): three of six at the first place, three of six at the second.
    assert probs[7] == pytest.approx(0.25)


def test_distance_of_frequencies():
    assert ngram_distance(["ab", "b"], ["b", "ab"], 2) == pytest.approx(0, abs=1e-7)
    # Nothing in common but the end, which is one of four in both.
    found = ngram_distance(["aaa"], ["bbb"], 1)
    assert found == pytest.approx(math.sqrt(0.75))
    assert ngram_distance(["aaa"], ["bbb"], 2) == pytest.approx(1)


def test_words():
    words = words_of(["the cat; the dog,", "- 'tis the cat", ""])
    assert words == [["the", "cat", "the", "dog"], ["tis", "the", "cat"], []]
    assert share_known(words, {"the", "cat"}) == pytest.approx(5 / 7)
    assert count_ngrams(words, 2) == 5
    assert distinct(words, 1, 7) == pytest.approx(4 / 7)
    assert distinct(words, 1, 2) == 1 and distinct(words, 2, 5) == pytest.approx(4 / 5)
    assert share_known([[]], {"a"}) == distinct([[]], 2, 0) == 0

r"""n-gram models of characters by interpolated modified Kneser-Ney smoothing.

With N(c x) the count of symbol x behind context c, N_i(c) the number of symbols that
occur i times behind c (N_3+: at least three times) and c' the context without its first
symbol,

    p(x|c) = max(N(c x) - D(N(c x)), 0) / N(c)
             + (D_1 N_1(c) + D_2 N_2(c) + D_3 N_3+(c)) / N(c) p(x|c'),     (1)

below which stands the uniform distribution. In lower orders N counts the different
symbols to the left of (c x). With n_i the number of n-grams of count i, in each order,

    Y = n_1 / (n_1 + 2 n_2),
    D_1 = 1 - 2 Y n_2/n_1,  D_2 = 2 - 3 Y n_3/n_2,  D_3 = 3 - 4 Y n_4/n_3,  (2)

each D_i within [0.1, i]: at 0 an unseen symbol could have no probability at all.

A text is read with n - 1 start symbols before it; its end is predicted too. Symbols
that neither the texts nor the alphabet hold have probability 0.

Source: Chen and Goodman, An empirical study of smoothing techniques for language
modeling, Computer Speech and Language 13 (1999), section 3.
"""

import collections
import functools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lsgm.typing import Float, UInt8

Codes = UInt8[np.ndarray, "_ length"]

START, END = "\x02", "\0"
LEAST_DISCOUNT = 0.1


class _Order(NamedTuple):
    """Counts of one order, as Eq. (1) needs them.

    Attributes:
      counts: of n-grams. totals: N(c). spared: the numerator of the second term.
    """

    counts: collections.Counter[str]
    totals: dict[str, int]
    spared: dict[str, float]
    discounts: tuple[float, ...]


class KneserNey:
    """Eq. (1), of one order, from the counts of training texts."""

    def __init__(self, texts: Iterable[str], order: int, num_symbols: int):
        """Count.

        Args:
          order: n; each symbol sees n - 1 before it.
          num_symbols: that can be predicted, the end among them.
        """
        counts: collections.Counter[str] = collections.Counter()
        for text in texts:
            counts.update(_ngrams(text, order))
        self.order, self._uniform = order, 1 / num_symbols
        self._orders: list[_Order] = []
        for _ in range(order):
            self._orders.append(_describe(counts))
            # Different n-grams that end in it: different symbols to its left.
            counts = collections.Counter(gram[1:] for gram in counts)
        self.prob = functools.cache(self._prob)

    def _prob(self, gram: str) -> float:
        """p(x|c) of the symbol x at the end of ``gram``, c all before it, at most
        order - 1 symbols."""
        if not gram:
            return self._uniform
        below, context = self.prob(gram[1:]), gram[:-1]
        held = self._orders[self.order - len(gram)]
        total = held.totals.get(context)
        if total is None:
            return below
        count = held.counts[gram]
        left = max(count - held.discounts[min(count, 3)], 0.0)
        return (left + held.spared[context] * below) / total

    def log_prob(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """log p of each text with its end, in nats."""
        return np.array(
            [
                math.fsum(math.log(self.prob(g)) for g in _ngrams(text, self.order))
                for text in texts
            ]
        )


def _ngrams(text: str, order: int) -> list[str]:
    """The n-gram that ends in each symbol of a text, its end the last."""
    padded = START * (order - 1) + text + END
    return [padded[i : i + order] for i in range(len(text) + 1)]


def _describe(counts: collections.Counter[str]) -> _Order:
    discounts = _discounts(counts)
    totals: dict[str, int] = collections.defaultdict(int)
    spared: dict[str, float] = collections.defaultdict(float)
    for gram, count in counts.items():
        totals[gram[:-1]] += count
        spared[gram[:-1]] += discounts[min(count, 3)]
    return _Order(counts, dict(totals), dict(spared), discounts)


def _discounts(counts: collections.Counter[str]) -> tuple[float, float, float, float]:
    """Eq. (2), by count; of a count of 0 it is 0."""
    having = collections.Counter(min(count, 5) for count in counts.values())
    n = {i: max(having[i], 1) for i in range(1, 5)}
    y = n[1] / (n[1] + 2 * n[2])
    raw = (i - (i + 1) * y * n[i + 1] / n[i] for i in range(1, 4))
    one, two, three = (
        min(max(d, LEAST_DISCOUNT), float(i)) for i, d in enumerate(raw, 1)
    )
    return 0.0, one, two, three


def independent_log_prob(
    train: Codes, codes: Codes, num: int
) -> Float[np.ndarray, " m"]:
    """log p in nats of codes [m length] if every place is drawn by itself, by how often
    each code stood there in ``train`` [n length].

    Args:
      num: of codes; each counts once more than it was seen.
    """
    counts = np.stack([np.bincount(column, minlength=num) for column in train.T]) + 1.0
    table = np.log(counts / counts.sum(1, keepdims=True))
    return table[np.arange(codes.shape[1])[None], codes].sum(1)


def ngram_distance(one: Iterable[str], two: Iterable[str], order: int) -> float:
    """Jensen-Shannon distance of the frequencies of character n-grams, ends among
    them: 0 of equal ones, 1 of those without a common n-gram."""
    from scipy.spatial.distance import jensenshannon

    counts = [
        collections.Counter(g for text in texts for g in _ngrams(text, order))
        for texts in (one, two)
    ]
    grams = sorted(counts[0] | counts[1])
    rows = [np.array([c[g] for g in grams], float) for c in counts]
    return float(jensenshannon(*rows, base=2))

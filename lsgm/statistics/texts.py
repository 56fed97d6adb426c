"""Counts of words in texts: vocabulary, variety. Words are what spaces part."""

import itertools
from collections.abc import Sequence
from collections.abc import Set as AbstractSet


def words_of(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text, signs at their ends removed."""
    return [
        [word for part in text.split() if (word := part.strip(",;-'"))]
        for text in texts
    ]


def share_known(words: Sequence[Sequence[str]], vocabulary: AbstractSet[str]) -> float:
    """Share of all words that the vocabulary holds; 0 where there are no words."""
    every = list(itertools.chain.from_iterable(words))
    return sum(word in vocabulary for word in every) / max(len(every), 1)


def distinct(words: Sequence[Sequence[str]], order: int, num: int) -> float:
    """Different word n-grams as a share of the first ``num``: shares of unequal numbers
    do not compare. 0 where there are none."""
    grams = [
        tuple(one[i : i + order]) for one in words for i in range(len(one) - order + 1)
    ]
    return len(set(grams[:num])) / max(min(num, len(grams)), 1)


def count_ngrams(words: Sequence[Sequence[str]], order: int) -> int:
    """How many word n-grams there are."""
    return sum(max(len(one) - order + 1, 0) for one in words)

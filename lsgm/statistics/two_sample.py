r"""The classifier two-sample test: how often two sets are told apart.

A classifier learns on one half of both sets, and is asked about the other half.
Kernel ridge regression of labels y = +-1 has a closed form and sees differences of
any kind,

    f(z) = k(z, Z) (K + I)^{-1} y,   k(z, z') = exp(-|z - z'|^2 / s),      (1)

with s the median squared distance in the half that it learns on, and equally many of
either label. Given what it learnt, its answers on the other half are independent, so
their mean, the accuracy a over N answers, has the binomial standard error

    se^2 = a (1 - a) / N,                                                  (2)

and is 0.5 in the mean where the distributions are the same. (Cross-validation would
use every example for both, but its folds learn from one another: its spread is 1.3
times Eq. (2), measured in the tests, so it has no such error.)

Source: Lopez-Paz and Oquab, arXiv 1610.06545, for the test.
"""

import numpy as np

from lsgm.statistics.estimate import Estimate
from lsgm.statistics.frechet import Features, OtherFeatures
from lsgm.typing import Float

# A matrix of so many examples by as many is solved with.
MAX_EXAMPLES = 2000


def told_apart(x: Features, y: OtherFeatures, *, seed: int = 0) -> Estimate:
    """Accuracy of Eq. (1) on the halves that it did not learn on, with Eq. (2).

    Args:
      seed: of the halves, and of the ``MAX_EXAMPLES`` that are taken of larger sets.

    Raises:
      ValueError: a set of fewer than four examples.
    """
    num = min(len(x), len(y), MAX_EXAMPLES) // 2 * 2
    if num < 4:
        raise ValueError(f"sets of {len(x)} and {len(y)}: told apart are 4 or more")
    rng = np.random.default_rng(seed)
    x, y = (rng.permutation(z.astype(np.float64))[:num] for z in (x, y))
    learnt = np.concatenate([x[: num // 2], y[: num // 2]])
    asked = np.concatenate([x[num // 2 :], y[num // 2 :]])
    labels = np.repeat([1.0, -1.0], num // 2)
    answers = np.sign(_classifier(learnt, labels, asked))
    # An answer of 0 is half right.
    accuracy = float((1 + (answers * labels).mean()) / 2)
    error = float(np.sqrt(accuracy * (1 - accuracy) / num))
    return Estimate(value=accuracy, standard_error=error, better="lower")


def _classifier(
    learnt: Features, labels: Float[np.ndarray, " n"], asked: OtherFeatures
) -> Float[np.ndarray, " m"]:
    """f(asked), Eq. (1)."""
    from scipy.linalg import cho_factor, cho_solve
    from scipy.spatial.distance import cdist

    squares = cdist(learnt, learnt, "sqeuclidean")
    scale = np.median(squares[np.triu_indices(len(squares), 1)])
    if not scale:
        return np.zeros(len(asked))
    gram = np.exp(-squares / scale) + np.eye(len(squares))
    weights = cho_solve(cho_factor(gram), labels)
    return np.exp(-cdist(asked, learnt, "sqeuclidean") / scale) @ weights

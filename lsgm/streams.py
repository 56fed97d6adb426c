r"""Random numbers by use: one stream for each, so that no two uses share numbers.

All numbers of a run or an evaluation come from its seed. The key of a use is

    key(seed, use) = fold_in(key(seed), use).                              (1)

``fold_in(key, k)`` equals ``split(key, n)[k]``, so a small tag would meet the numbers
of stages, steps, batches and examples that are folded into the same key. The tags of
``Use`` stand at the top of 32 bits instead, where no such number comes.

Training needs no tag of its own: stage k starts from ``fold_in(key(seed), k)``.
"""

import enum

import jax

from lsgm.typing import PRNGKey

# JAX keeps 32 bits of a seed, so larger ones would repeat smaller ones.
MAX_SEED = 2**32 - 1
_TOP = 2**32 - 1


class Use(enum.IntEnum):
    """What random numbers are drawn for. A tag is given once and never again: figures
    of earlier evaluations depend on it."""

    # Folded into the key of a training stage, beside its steps.
    INACTIVE_CHANNELS = _TOP
    ROLLBACK = _TOP - 1
    # Folded into the key of a seed.
    MONITOR_BOUND = _TOP - 2
    MONITOR_SAMPLES = _TOP - 3
    MONITOR_RECONSTRUCTIONS = _TOP - 4
    SELECTION = _TOP - 5
    SAMPLES = _TOP - 6
    RECALIBRATION = _TOP - 7
    BOUND = _TOP - 8
    LIKELIHOOD = _TOP - 9
    LATENTS = _TOP - 10
    RECONSTRUCTIONS = _TOP - 11
    ROUND_TRIP = _TOP - 12
    TRAVERSAL = _TOP - 13
    SAMPLING_COST = _TOP - 14
    INTERPOLATION = _TOP - 15


def fold(key: PRNGKey, use: Use) -> PRNGKey:
    """The key of ``use`` below ``key``."""
    return jax.random.fold_in(key, int(use))


def stream(seed: int, use: Use) -> PRNGKey:
    """The key of ``use`` with this seed, Eq. (1)."""
    return fold(jax.random.key(seed), use)


def check_seed(seed: int) -> None:
    """Refuse a seed that JAX or NumPy cannot take as it is.

    Raises:
      ValueError: it is negative, or has more than 32 bits.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed = {seed}: must lie in 0 .. 2^32 - 1 = {MAX_SEED}")


def data_seed(seed: int, stage: int, rollbacks: int) -> int:
    """The 64-bit seed of the order and the transforms of training examples: another
    for each stage, and after each rollback.

    Args:
      stage: its place in the order of stages.
    """
    return seed + (stage << 32) + (rollbacks << 48)

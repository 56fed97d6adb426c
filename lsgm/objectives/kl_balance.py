r"""Annealing of the KL term, and its balance between groups of latents.

Coefficient of the KL at step k, rising over K steps after k_c constant ones:

    c(k) = clip(c_min + (c_max - c_min) (k - k_c) / K, c_min, c_max)       (1)

While it is below one, groups whose KL is large are weighted up, so that annealing
does not let groups collapse one after the other. With a_l proportional to
4^i / (groups in the scale) for the i-th scale from the deepest, min a_l = 1,

    s_l = mean |KL_l| + 0.01                                               (2)
    gamma_l = (s_l / a_l) / mean_j (s_j / a_j),  without gradient,         (3)

and the balanced KL is sum_l gamma_l KL_l. The absolute value is there because KLs
estimated from one sample may be negative.

Sources: NVAE, arXiv 2007.03898, appendix A; LSGM, arXiv 2106.05931.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.typing import Array, Float, Int

MIN_KL = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class KLSchedule:
    """Coefficient of the KL by step, Eq. (1); constant 1 by default.

    Attributes:
      coeff_min, coeff_max: before and after annealing.
      const_steps, anneal_steps: k_c and K, in updates.
    """

    coeff_min: float = 1.0
    coeff_max: float = 1.0
    anneal_steps: int | float = 1
    const_steps: int | float = 0

    def __post_init__(self) -> None:
        if not 0 <= self.coeff_min <= self.coeff_max:
            raise ValueError(
                f"coeff_min = {self.coeff_min}: allowed are 0 to coeff_max = "
                f"{self.coeff_max}"
            )
        if not self.anneal_steps > 0:
            raise ValueError(f"anneal_steps = {self.anneal_steps}: must be positive")
        if self.const_steps < 0:
            raise ValueError(f"const_steps = {self.const_steps}: must be >= 0")

    def __call__(self, step: Int[Array, ""]) -> Float[Array, ""]:
        progress = (step.astype(jnp.float32) - self.const_steps) / self.anneal_steps
        coeff = self.coeff_min + (self.coeff_max - self.coeff_min) * progress
        return jnp.clip(coeff, self.coeff_min, self.coeff_max)


def group_weights(
    groups_per_scale: tuple[int, ...], growth: float = 4.0
) -> Float[Array, " groups"]:
    """Share a_l of each group in the KL, deepest scale first.

    Args:
      groups_per_scale: deepest scale first.
      growth: factor from one scale to the next finer one, whose maps have four
        times the variables.
    """
    weights = np.concatenate(
        [np.full(n, growth**i / n) for i, n in enumerate(groups_per_scale)]
    )
    return jnp.asarray(weights / weights.min(), jnp.float32)


def balance(
    kl: Float[Array, "groups b"],
    coeff: Float[Array, ""],
    weights: Float[Array, " groups"],
    axis: str | None = None,
) -> Float[Array, " groups"]:
    """Weights gamma_l of the groups' KLs, Eqs. (2) and (3); ones where coeff >= 1.

    Args:
      kl: one-sample KL by group and example, in nats.
      weights: from ``group_weights``.
      axis: mapped axis over whose devices too the mean of Eq. (2) is taken.
    """
    size = jnp.mean(jnp.abs(jax.lax.stop_gradient(kl)), axis=1)
    if axis is not None:
        size = jax.lax.pmean(size, axis)
    gammas = (size + MIN_KL) / weights
    return jnp.where(coeff < 1, gammas / jnp.mean(gammas), 1.0)

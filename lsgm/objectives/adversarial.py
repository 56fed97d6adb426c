r"""Losses of a generator and a discriminator that judges pairs of noise levels.

With D the logit that a pair (x_{k-1}, x_k) is of the data, per example,

    L_D = softplus(-D(real)) + softplus(D(fake)) + R1,                     (1)
    L_G = softplus(-D(fake)),                                              (2)
    R1 = (gamma / 2) |grad_{x_{k-1}} D(real)|^2.                           (3)

Lazily, (3) is computed at every r-th step only, and multiplied by r there, so that
``gamma`` means the same at every r. The published code leaves the factor out: its
gamma_pub at period r is ``gamma = gamma_pub / r`` here.

Sources: Goodfellow et al., arXiv 1406.2661; for (3) Mescheder et al., arXiv 1801.04406;
for the lazy form Karras et al., arXiv 1912.04958; for pairs of levels Denoising
diffusion GANs, arXiv 2112.07804, Eqs. 5 and 6.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lsgm.numerics import softplus, sum_per_example
from lsgm.typing import Array, PerExample, State

Critic = Callable[[State], PerExample]


def discriminator_loss(real: PerExample, fake: PerExample) -> PerExample:
    """Eq. (1) without its penalty, from logits."""
    return softplus(-real) + softplus(fake)


def generator_loss(fake: PerExample) -> PerExample:
    """Eq. (2), from logits: not saturated where the discriminator wins."""
    return softplus(-fake)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LazyR1:
    """Eq. (3) at every ``every``-th step, times ``every``.

    Attributes:
      gamma: strength as if it were applied at every step.
      every: r.

    Raises:
      ValueError: a negative strength, or a period below 1.
    """

    gamma: float
    every: int = 1

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise ValueError(f"gamma = {self.gamma}: must be >= 0")
        if self.every < 1:
            raise ValueError(f"every = {self.every}: must be >= 1")

    def __call__(self, critic: Critic, x: State, step: Array) -> PerExample:
        """The penalty of each example at this step; zero at most steps.

        Args:
          critic: logits of x_{k-1}, all else held.
          x: real x_{k-1}.
          step: of the training, int32; the penalty is computed at 0, r, 2 r, ...
        """

        def penalty(x: State) -> PerExample:
            return 0.5 * self.gamma * self.every * squared_gradient(critic, x)

        def nothing(x: State) -> PerExample:
            return jnp.zeros_like(sum_per_example(x))

        if self.every == 1:
            return penalty(x)
        return jax.lax.cond(step % self.every == 0, penalty, nothing, x)


def squared_gradient(critic: Critic, x: State) -> PerExample:
    """|grad_x D(x)|^2 of each example.

    Where a discriminator compares the examples of a batch, it is the gradient of the
    sum of their logits.
    """
    gradient = jax.grad(lambda x: jnp.sum(critic(x)))(x)
    return sum_per_example(gradient**2)

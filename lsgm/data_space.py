r"""Likelihoods of a decoder that changes nothing: a prior runs on the data itself.

Levels k = 0 .. M stand at x = 2k/M - 1, bins of width w = 2/M around them. The
identity "encoder" draws z uniformly from the bin of x (uniform dequantisation), the
"decoder" gives back the level in whose bin z lies:

    q(z|x) = 1/w within the bin of x,   p(x|z) = 1 there and 0 elsewhere,    (1)
    -log P(x) <= E_q[-log p(z)] - d log w,   d the dimensions of x.          (2)

Eq. (2) is tight where p(z) is constant within each bin. Continuous data need no
noise: z = x, and -log p(z) is their negative log-density.

Levels without noise have no bound: their density grows without limit as p(z) gathers
at them. A GAN, which has none anyway, is trained on them so, or its discriminator would
look for the noise.

Source: Theis et al., A note on the evaluation of generative models, arXiv
1511.01844, section 3.1.
"""

import dataclasses
from typing import Any, ClassVar

import flax.struct
import jax.numpy as jnp

from lsgm.distributions import Likelihood, to_level
from lsgm.typing import Array, Float, Image, PRNGKey


@dataclasses.dataclass(frozen=True, kw_only=True)
class DequantisationLikelihood(Likelihood):
    """The level whose bin holds z, Eq. (1), for an identity VAE on levels."""

    @property
    def bin_width(self) -> float | None:
        """w of Eq. (1)."""
        return 2 / self.max_level

    def num_outputs(self, channels: int) -> int:
        return channels

    def distribution(self, out: Float[Array, "b h w c"]) -> "Bin":
        return Bin(z=out, max_level=self.max_level)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundingLikelihood(DequantisationLikelihood):
    """The level nearest to z, for an identity VAE on levels without noise.

    Only with a prior that has no bound (``lsgm.model.LatentModel`` refuses others).
    """

    has_bound: ClassVar[bool] = False

    @property
    def bin_width(self) -> None:
        """No noise."""
        return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContinuousLikelihood(Likelihood):
    """The point z itself, for an identity VAE on real numbers; log p(x|z) = 0."""

    num_bits: ClassVar[None] = None
    density: ClassVar[bool] = True
    continuous: ClassVar[bool] = True
    bin_width: ClassVar[None] = None

    def __post_init__(self) -> None:
        """There are no levels whose number could be wrong."""

    def shown(self, x: Array) -> Array:
        return x

    def num_outputs(self, channels: int) -> int:
        return channels

    def distribution(self, out: Float[Array, "b h w c"]) -> "Point":
        return Point(z=out)


@flax.struct.dataclass
class Bin:
    """Eq. (1): certainty of the level at z."""

    z: Any  # [b h w c]
    max_level: int = flax.struct.field(pytree_node=False)

    def log_prob(self, x: Image) -> Float[Array, "b h w"]:
        """0 where z lies in the bin of x, up to rounding; -inf elsewhere."""
        slack = 1e-6
        inside = jnp.abs(x - self.z) <= 1 / self.max_level + slack
        return jnp.where(inside.all(-1), 0.0, -jnp.inf)

    def mean(self) -> Image:
        return to_level(self.z, self.max_level)

    def sample(self, key: PRNGKey) -> Image:
        del key
        return self.mean()


@flax.struct.dataclass
class Point:
    """Certainty of z."""

    z: Any  # [b h w c]

    def log_prob(self, x: Image) -> Float[Array, "b h w"]:
        return jnp.zeros(x.shape[:-1])

    def mean(self) -> Image:
        return self.z

    def sample(self, key: PRNGKey) -> Image:
        del key
        return self.z

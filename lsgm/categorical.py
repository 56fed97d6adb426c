r"""Likelihoods of classes: for each variable one categorical distribution.

Codes k = 0 .. M, M = K - 1, stand at x = 2k/M - 1, where levels of images stand. The
decoder gives K logits l a variable, and

    p(k) = exp(l_k) / sum_{j allowed} exp(l_j),   p(k) = 0 if k is not allowed.    (1)

Nothing is assumed of the order of the classes. A sequence of n symbols is an "image" of
shape [n, 1, 1], and so is a row of a table, whose columns may each have a number of
classes of its own. In a sequence a symbol may also depend on the k symbols before it,

    p(x|z) = prod_i p(x_i | z, x_{i-k}, ..., x_{i-1}).                             (2)

The parallel form of (2) knows x and scores it; sampling goes symbol by symbol.

Source: (2) with a window of symbols is the neural n-gram model of Bengio et al., JMLR 3
(2003), with latents.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from lsgm import numerics
from lsgm.distributions import Likelihood
from lsgm.typing import Array, Bool, Float, Image, Int, PRNGKey

# Logit of what is not allowed. Not -inf, whose product with 0 is NaN in gradients.
DISALLOWED = -1e9
# (features [b m f], previous codes [b m k]) -> logits [b m K].
Head = Callable[[Float[Array, "b m f"], Int[Array, "b m k"]], Float[Array, "b m K"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CategoricalLikelihood(Likelihood):
    """K classes a variable, Eq. (1). Outputs: K logits for each channel.

    Attributes:
      num_classes: K, from 2 to 256.
      allowed: runs (places, classes), row by row: ((9, 5), (36, 4)) allows classes
        0 .. 4 at the first nine places and 0 .. 3 at the next 36. Empty: all.
    """

    num_bits: int = dataclasses.field(init=False, repr=False)
    num_classes: int
    allowed: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        numerics.check_num_classes(self.num_classes)
        if any(p < 1 or not 1 <= k <= self.num_classes for p, k in self.allowed):
            raise ValueError(
                f"allowed = {self.allowed}: runs of (places >= 1, classes from 1 to "
                f"{self.num_classes})"
            )
        object.__setattr__(self, "num_bits", (self.num_classes - 1).bit_length())
        super().__post_init__()

    @property
    def max_level(self) -> int:
        """M, the highest code."""
        return self.num_classes - 1

    def num_outputs(self, channels: int) -> int:
        return channels * self.num_classes

    def mask(self, height: int, width: int) -> Bool[np.ndarray, "h w 1 K"]:
        """Which classes are allowed at each place.

        Raises:
          ValueError: the runs have another number of places.
        """
        places, classes = height * width, range(self.num_classes)
        counts = [self.num_classes] * places
        if self.allowed:
            counts = [k for p, k in self.allowed for _ in range(p)]
        if len(counts) != places:
            raise ValueError(
                f"allowed = {self.allowed}: {len(counts)} places, and the data have "
                f"{places}"
            )
        held = np.array([[k < count for k in classes] for count in counts])
        return held.reshape(height, width, 1, self.num_classes)

    def distribution(self, out: Float[Array, "b h w p"]) -> "Categorical":
        b, h, w, _ = out.shape
        logits = out.astype(jnp.float32).reshape(b, h, w, -1, self.num_classes)
        if self.allowed:
            logits = jnp.where(self.mask(h, w)[None], logits, DISALLOWED)
        return Categorical(logits=logits)


@flax.struct.dataclass
class Categorical:
    """Eq. (1)."""

    logits: Any  # [b h w c K]

    @property
    def _max_level(self) -> int:
        return self.logits.shape[-1] - 1

    def log_prob(self, x: Image) -> Float[Array, "b h w"]:
        codes = numerics.to_codes(x, self._max_level)
        # A product with a mask, whose gradient is no scatter.
        chosen = jax.nn.one_hot(codes, self.logits.shape[-1])
        return jnp.sum(chosen * jax.nn.log_softmax(self.logits), axis=(-2, -1))

    def mean(self) -> Image:
        """The likeliest class of each variable: a mean of classes is none."""
        return to_x(jnp.argmax(self.logits, -1), self._max_level)

    def sample(self, key: PRNGKey) -> Image:
        return to_x(jax.random.categorical(key, self.logits), self._max_level)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequential:
    """Eq. (2): symbols [n 1 1] that see those before them.

    Attributes:
      features: of each place, from z, [b n f].
      head: logits from features and the ``context`` codes before a place; code K stands
        for places before the first.
      likelihood: whose classes these are.
    """

    features: Float[Array, "b n f"]
    head: Head
    context: int
    likelihood: CategoricalLikelihood

    def log_prob(self, x: Image) -> Float[Array, "b n 1"]:
        codes = numerics.to_codes(x, self.likelihood.max_level)[:, :, 0, 0]
        start = self.likelihood.num_classes
        before = numerics.previous(codes, self.context, start)
        logits = self.head(self.features, before)
        return self.likelihood.distribution(logits[:, :, None]).log_prob(x)

    def mean(self) -> Image:
        """The likeliest symbol, then the likeliest after it: not the likeliest x."""
        keys = jnp.zeros(self.features.shape[1])
        return self._unroll(keys, lambda key, logits: jnp.argmax(logits, -1))

    def sample(self, key: PRNGKey) -> Image:
        keys = jax.random.split(key, self.features.shape[1])
        return self._unroll(keys, jax.random.categorical)

    def _unroll(self, keys: Array, choose: Callable[..., Array]) -> Image:
        num, length = self.features.shape[:2]
        mask = jnp.asarray(self.likelihood.mask(length, 1))[:, 0, 0]

        def step(before: Array, place: tuple[Array, ...]) -> tuple[Array, Array]:
            key, features, allowed = place
            logits = self.head(features[:, None], before[:, None])[:, 0]
            masked = jnp.where(allowed[None], logits, DISALLOWED)
            code = choose(key, masked).astype(jnp.int32)
            return jnp.concatenate([before[:, 1:], code[:, None]], 1), code

        start = self.likelihood.num_classes
        before = jnp.full((num, self.context), start, jnp.int32)
        places = keys, jnp.swapaxes(self.features, 0, 1), mask
        _, codes = jax.lax.scan(step, before, places)
        return to_x(codes.T[:, :, None, None], self.likelihood.max_level)


def to_x(codes: Int[Array, "b h w c"], max_level: int) -> Image:
    """Where codes 0 .. M stand: 2k/M - 1."""
    return 2.0 * codes.astype(jnp.float32) / max_level - 1.0

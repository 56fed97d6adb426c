r"""Likelihoods p(x|z) of images with x in [-1, 1], from a decoder's raw outputs.

Data with b bits per channel has levels k = 0 .. M, M = 2^b - 1, at x = 2k/M - 1.

    Bernoulli             log p = log sigmoid(l) where x = 1,
                                  log sigmoid(-l) where x = -1             (1)
    discretised logistic  p(k) = S((x - mu + 1/M) / s) - S((x - mu - 1/M) / s),
                          S the logistic sigmoid; the outermost levels also hold
                          what lies beyond them                            (2)
    mixture               p = sum_j pi_j prod_c p_jc, one component for all
                          colours of a pixel, means of later colours shifted by
                          earlier ones: mu_R, mu_G + a_0 x_R,
                          mu_B + a_1 x_R + a_2 x_G                         (3)
    Normal                density N(x; mu, sigma^2), mu and log sigma both
                          5 tanh(. / 5)                                    (4)

An inner level of (2), with a+ and a- its two bounds and d = a+ - a- = 2 / (M s), is

    log p = log S(a+) + log S(-a-) + log(1 - exp(-d)),                     (5)

which holds in fp32 where the difference of two sigmoids has no digits left. The
published code takes that difference and below p = 1e-5 replaces it by the density
at the middle times the bin's width, which is several nats off when bins are wide
(d >> 1); ``reference_compatible`` does the same.

Sources: Salimans et al., PixelCNN++, arXiv 1701.05517 (2, 3); LSGM, arXiv
2106.05931, and its published models.
"""

import abc
import dataclasses
import math
from typing import Any, ClassVar, Protocol

import flax.struct
import jax
import jax.numpy as jnp

from lsgm.numerics import soft_clamp, softplus
from lsgm.typing import Array, Float, Image, PRNGKey

MIN_LOG_SCALE = -7.0
NORMAL_CLAMP = 5.0
LOG_2PI = math.log(2 * math.pi)
# Below it the published code leaves Eq. (5) for the density.
PUBLISHED_MIN_PROB = 1e-5


class Distribution(Protocol):
    """p(x|z) of a batch of images."""

    def log_prob(self, x: Image) -> Float[Array, "b h w"]:
        """Log-probability per pixel, summed over colours, in nats."""
        ...

    def mean(self) -> Image:
        """The image to show, in [-1, 1]."""
        ...

    def sample(self, key: PRNGKey) -> Image:
        """A draw, on the data's levels where these are discrete."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Likelihood(abc.ABC):
    """How a decoder's outputs are read as a distribution.

    Attributes:
      num_bits: bits per channel of the data.
      density: whether it gives x a density; probabilities of levels otherwise.
      continuous: whether the data are real numbers instead of levels.
      has_bound: whether a prior's bound, with it, is one on -log p(x).
    """

    density: ClassVar[bool] = False
    continuous: ClassVar[bool] = False
    has_bound: ClassVar[bool] = True

    num_bits: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.num_bits <= 8:
            raise ValueError(f"num_bits = {self.num_bits}: allowed are 1 to 8")

    @property
    def max_level(self) -> int:
        """M, the highest level of the data."""
        return 2**self.num_bits - 1

    def shown(self, x: Image) -> Image:
        """x as a view takes it: images from [-1, 1] to [0, 1], clipped."""
        return jnp.clip(0.5 * (x + 1), 0, 1)

    @abc.abstractmethod
    def num_outputs(self, channels: int) -> int:
        """Decoder outputs per pixel for images with so many channels.

        Raises:
          ValueError: such images have no likelihood of this kind.
        """

    @abc.abstractmethod
    def distribution(self, out: Float[Array, "b h w p"]) -> Any:
        """p(x|z) (a ``Distribution``) from raw decoder outputs, in fp32."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BernoulliLikelihood(Likelihood):
    """Binary pixels, Eq. (1). Outputs: one logit per channel."""

    num_bits: ClassVar[int] = 1

    def num_outputs(self, channels: int) -> int:
        return channels

    def distribution(self, out: Float[Array, "b h w p"]) -> "Bernoulli":
        return Bernoulli(logits=out.astype(jnp.float32))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogisticLikelihood(Likelihood):
    """One discretised logistic per channel, Eq. (2). Outputs: means, log-scales."""

    reference_compatible: bool = False

    def num_outputs(self, channels: int) -> int:
        return 2 * channels

    def distribution(self, out: Float[Array, "b h w p"]) -> "Logistic":
        loc, log_scale = jnp.split(out.astype(jnp.float32), 2, axis=-1)
        return Logistic(
            loc=loc,
            log_scale=jnp.maximum(log_scale, MIN_LOG_SCALE),
            max_level=self.max_level,
            reference_compatible=self.reference_compatible,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogisticMixtureLikelihood(Likelihood):
    """Mixture of discretised logistics, Eq. (3), for grey or RGB images.

    Outputs: the components' logits; then for each colour their means, log-scales
    and, for RGB, coefficients before tanh.

    Attributes:
      reference_compatible: published small probabilities (module docstring), and
        samples between the data's levels.
    """

    num_components: int = 10
    reference_compatible: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_components < 1:
            raise ValueError(f"num_components = {self.num_components}: must be >= 1")

    def num_outputs(self, channels: int) -> int:
        if channels not in (1, 3):
            raise ValueError(
                f"LogisticMixtureLikelihood: images have {channels} channels; "
                "allowed are 1 (grey) and 3 (RGB)"
            )
        return self.num_components * (3 if channels == 1 else 10)

    def distribution(self, out: Float[Array, "b h w p"]) -> "LogisticMixture":
        k = self.num_components
        out = out.astype(jnp.float32)
        colours = 1 if out.shape[-1] == self.num_outputs(1) else 3
        fields = out[..., k:].reshape(*out.shape[:-1], colours, -1, k)
        return LogisticMixture(
            logits=out[..., :k],
            loc=fields[..., 0, :],
            log_scale=jnp.maximum(fields[..., 1, :], MIN_LOG_SCALE),
            coeffs=jnp.tanh(fields[..., 2, :]) if colours == 3 else None,
            max_level=self.max_level,
            reference_compatible=self.reference_compatible,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NormalLikelihood(Likelihood):
    """Continuous Normal pixels, Eq. (4). Outputs: means, log sigmas.

    Its log-density of x is no log-probability of levels: no bits per dimension
    follow from it.
    """

    density: ClassVar[bool] = True

    def num_outputs(self, channels: int) -> int:
        return 2 * channels

    def distribution(self, out: Float[Array, "b h w p"]) -> "Normal":
        loc, log_sigma = jnp.split(
            soft_clamp(out.astype(jnp.float32), NORMAL_CLAMP), 2, -1
        )
        return Normal(loc=loc, log_sigma=log_sigma)


@flax.struct.dataclass
class Bernoulli:
    """Eq. (1)."""

    logits: Any  # [b h w c]

    def log_prob(self, x: Image) -> Float[Array, "b h w"]:
        on = 0.5 * (x + 1)
        log_p = -on * softplus(-self.logits)
        log_p -= (1 - on) * softplus(self.logits)
        return log_p.sum(-1)

    def mean(self) -> Image:
        return jnp.tanh(0.5 * self.logits)

    def sample(self, key: PRNGKey) -> Image:
        on = jax.random.bernoulli(key, jax.nn.sigmoid(self.logits))
        return 2 * on.astype(self.logits.dtype) - 1


@flax.struct.dataclass
class Logistic:
    """Eq. (2)."""

    loc: Any  # [b h w c]
    log_scale: Any  # [b h w c]
    max_level: int = flax.struct.field(pytree_node=False)
    reference_compatible: bool = flax.struct.field(pytree_node=False)

    def log_prob(self, x: Image) -> Float[Array, "b h w"]:
        return log_prob_of_level(
            x, self.loc, self.log_scale, self.max_level, self.reference_compatible
        ).sum(-1)

    def mean(self) -> Image:
        """The location: the mean where the outermost levels hold no excess."""
        return jnp.clip(self.loc, -1, 1)

    def sample(self, key: PRNGKey) -> Image:
        noise = jax.random.logistic(key, self.loc.shape, self.loc.dtype)
        return to_level(self.loc + jnp.exp(self.log_scale) * noise, self.max_level)


@flax.struct.dataclass
class LogisticMixture:
    """Eq. (3)."""

    logits: Any  # [b h w k]
    loc: Any  # [b h w c k]
    log_scale: Any  # [b h w c k]
    coeffs: Any  # [b h w 3 k], None for grey images
    max_level: int = flax.struct.field(pytree_node=False)
    reference_compatible: bool = flax.struct.field(pytree_node=False)

    def log_prob(self, x: Image) -> Float[Array, "b h w"]:
        x = x[..., None]
        loc = self.loc
        if self.coeffs is not None:
            a, red, green = self.coeffs, x[..., 0, :], x[..., 1, :]
            blue = a[..., 1, :] * red + a[..., 2, :] * green
            shifts = (jnp.zeros_like(blue), a[..., 0, :] * red, blue)
            loc = loc + jnp.stack(shifts, axis=-2)
        log_p = log_prob_of_level(
            x, loc, self.log_scale, self.max_level, self.reference_compatible
        ).sum(-2)
        return jax.nn.logsumexp(jax.nn.log_softmax(self.logits) + log_p, axis=-1)

    def mean(self) -> Image:
        """Colour by colour, from means and coefficients averaged over components.

        For RGB this is the published image, not E[x], which the clipping and the
        products of Eq. (3) keep from a closed form.
        """
        weights = jax.nn.softmax(self.logits)[..., None, :]
        return self._chain(weights, self.loc, lambda x: jnp.clip(x, -1, 1))

    def sample(self, key: PRNGKey) -> Image:
        component_key, pixel_key = jax.random.split(key)
        dtype = self.logits.dtype
        gumbel = jax.random.gumbel(component_key, self.logits.shape, dtype)
        logistic = jax.random.logistic(pixel_key, self.loc.shape[:-1], dtype)
        return self.sample_from(gumbel, logistic)

    def sample_from(
        self,
        gumbel: Float[Array, "b h w k"],
        logistic: Image,
        temperature: float = 1.0,
    ) -> Image:
        """A draw from given standard noise.

        Args:
          temperature: divides the components' logits, multiplies the scales.
        """
        chosen = jnp.argmax(self.logits / temperature + gumbel, axis=-1)
        one_hot = jax.nn.one_hot(chosen, gumbel.shape[-1], dtype=gumbel.dtype)
        spread = temperature * jnp.exp(self.log_scale) * logistic[..., None]

        def finish(x: Array) -> Array:
            if self.reference_compatible:
                return jnp.clip(x, -1, 1)
            return to_level(x, self.max_level)

        return self._chain(one_hot[..., None, :], self.loc + spread, finish)

    def _chain(self, weights: Array, values: Array, finish: Any) -> Image:
        """Eq. (3)'s shifts, each colour finished before the next one sees it."""
        values = jnp.sum(weights * values, axis=-1)
        if self.coeffs is None:
            return finish(values)
        a = jnp.sum(weights * self.coeffs, axis=-1)
        red = finish(values[..., 0])
        green = finish(values[..., 1] + a[..., 0] * red)
        blue = finish(values[..., 2] + a[..., 1] * red + a[..., 2] * green)
        return jnp.stack((red, green, blue), axis=-1)


@flax.struct.dataclass
class Normal:
    """Eq. (4)."""

    loc: Any  # [b h w c]
    log_sigma: Any  # [b h w c]

    def log_prob(self, x: Image) -> Float[Array, "b h w"]:
        """Log-density of x, in nats."""
        standard = (x - self.loc) * jnp.exp(-self.log_sigma)
        return -(0.5 * standard**2 + 0.5 * LOG_2PI + self.log_sigma).sum(-1)

    def mean(self) -> Image:
        """The mean, clipped to the data's range."""
        return jnp.clip(self.loc, -1, 1)

    def sample(self, key: PRNGKey) -> Image:
        noise = jax.random.normal(key, self.loc.shape, self.loc.dtype)
        return self.loc + jnp.exp(self.log_sigma) * noise


def to_level(x: Array, max_level: int) -> Array:
    """The nearest of the levels 2k/M - 1."""
    level = jnp.round(0.5 * max_level * (jnp.clip(x, -1, 1) + 1))
    return 2 * level / max_level - 1


def log_prob_of_level(
    x: Array,
    loc: Array,
    log_scale: Array,
    max_level: int,
    reference_compatible: bool = False,
) -> Array:
    """Log-probability of the level at ``x``, Eqs. (2) and (5), in nats."""
    inv_scale = jnp.exp(-log_scale)
    middle = (x - loc) * inv_scale
    half = inv_scale / max_level
    log_below = -softplus(-middle - half)
    log_above = -softplus(middle - half)
    log_width = math.log(2 / max_level) - log_scale
    log_p = log_below + log_above + _log1mexp(2 * half, log_width)
    if reference_compatible:
        density = -softplus(middle) - softplus(-middle) + log_width
        log_p = jnp.where(log_p > math.log(PUBLISHED_MIN_PROB), log_p, density)
    return jnp.where(x < -0.999, log_below, jnp.where(x > 0.999, log_above, log_p))


def _log1mexp(d: Array, log_d: Array) -> Array:
    """log(1 - exp(-d)), d > 0, also where d itself is too small for fp32."""
    small = d < 1e-3
    # The inner where keeps the unused branch's infinite slope from the gradient.
    large = jnp.log(-jnp.expm1(-jnp.where(small, 1.0, d)))
    return jnp.where(small, log_d - 0.5 * d, large)

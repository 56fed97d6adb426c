"""A VAE: a network, a likelihood, a shape of data. Latents in groups, by scale.

The network maps an image x in [-1, 1] and standard normal noise to latents, their
log-densities and the parameters of the likelihood p(x|z). Images whose sides do not
halve far enough are padded with -1; the likelihood counts inner pixels only.

Latents are tuples over groups in decoding order. The groups of ``prior_scales`` are
the prior's variable z0, joined on channels: those of a finer scale than the deepest
chosen one are folded to its size, f x f neighbours to channels. Joining moves
variables and changes none, so densities stay. All other scales keep N(0, I).
"""

import dataclasses
import functools
import itertools
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lsgm import numerics
from lsgm.categorical import Sequential
from lsgm.distributions import Likelihood
from lsgm.networks.identity import Identity
from lsgm.networks.initialize import initialize
from lsgm.networks.layers import KERNELS, SCALES
from lsgm.networks.norm import BATCH_STATS, MOMENTUM
from lsgm.networks.resample import fold, unfold
from lsgm.typing import Array, Batch, Image, Latent, Latents, Params, PRNGKey, PRNGKeys


class Encoded(NamedTuple):
    """The prior's latents of an image, without what is decoded from them.

    Attributes:
      z0: its groups joined, after the flows, [b h w c].
      log_q: their log-density per variable in nats, [b h w c].
    """

    z0: Latent
    log_q: Latent


# What a network has, besides being a Linen module.
NETWORK = ("num_outputs", "latent_shapes", "decode")


class Inferred(NamedTuple):
    """One pass through encoder and decoder.

    Attributes:
      z: latents by group, after the flows, [b h w c] each.
      log_q: their log-density per variable in nats, by group, [b h w c] each.
      out: the likelihood's parameters for the unpadded image, [b h w p].
      batch_stats: running statistics after this pass.
      kernels, scales: effective convolution kernels and normalisation scales, for
        regularisation.
    """

    z: Latents
    log_q: Latents
    out: Array
    batch_stats: Params
    kernels: Params
    scales: Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class VAE:
    """q(z|x) and p(x|z).

    Attributes:
      network: ``lsgm.networks.nvae:NVAE``, or anything with its methods.
      likelihood: one of ``lsgm.distributions``.
      data_shape: (height, width, channels) of x.
      padding: pixels added on each side before the network.
      prior_scales: scales that the prior models; 0 is the deepest.
    """

    network: nn.Module
    likelihood: Likelihood
    data_shape: tuple[int, int, int]
    padding: int = 0
    prior_scales: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if absent := [name for name in NETWORK if not hasattr(self.network, name)]:
            raise ValueError(
                f"network: {type(self.network).__name__} has no {', '.join(absent)}; "
                "expected a network such as lsgm.networks.nvae:NVAE"
            )
        if len(self.data_shape) != 3 or min(self.data_shape) < 1:
            raise ValueError(
                f"data_shape = {self.data_shape!r}: expected (height, width, "
                "channels), each >= 1"
            )
        if self.padding < 0:
            raise ValueError(f"padding = {self.padding}: must be >= 0")
        needed = self.likelihood.num_outputs(self.data_shape[-1])
        if self.network.num_outputs != needed:
            raise ValueError(
                f"network.num_outputs = {self.network.num_outputs}: "
                f"{type(self.likelihood).__name__} on {self.data_shape[-1]} channels "
                f"needs {needed}"
            )
        num, scales = len(self.latent_shapes), self.prior_scales
        if not scales or list(scales) != sorted(set(scales) & set(range(num))):
            raise ValueError(
                f"prior_scales = {scales!r}: expected increasing scales, at least one, "
                f"from 0, the deepest, to {num - 1}"
            )

    @property
    def _padded_shape(self) -> tuple[int, int, int]:
        h, w, c = self.data_shape
        return h + 2 * self.padding, w + 2 * self.padding, c

    @property
    def context(self) -> int:
        """How many symbols before a place its distribution depends on."""
        return getattr(self.network, "context", 0)

    @property
    def latent_shapes(self) -> tuple[tuple[tuple[int, int, int], ...], ...]:
        """(h, w, c) of each group, by scale, deepest first."""
        return self.network.latent_shapes(self._padded_shape)

    @property
    def prior_shape(self) -> tuple[int, int, int]:
        """(h, w, c) of z0."""
        scales = [self.latent_shapes[s] for s in self.prior_scales]
        h, w, _ = scales[0][0]
        return h, w, sum(math.prod(shape) for s in scales for shape in s) // (h * w)

    def init(self, key: PRNGKey) -> tuple[Params, Params]:
        """Parameters, and running statistics ``{"batch_stats": ...}``."""
        x = jnp.zeros((1, *self._padded_shape))
        noise = tuple(jnp.zeros((1, *shape)) for shape in self._group_shapes())
        variables = initialize(
            self.network,
            key,
            x,
            noise,
            train=False,
            collections=("params", BATCH_STATS),
        )
        return variables["params"], {BATCH_STATS: variables[BATCH_STATS]}

    def draw(self, keys: PRNGKeys) -> Latents:
        """Standard normal noise for ``infer``, by group; one key per example."""
        shapes = self._group_shapes()
        parts = numerics.split_examples(keys, len(shapes))
        return tuple(
            numerics.normal(part, shape)
            for part, shape in zip(parts, shapes, strict=True)
        )

    def preprocess(self, batch: Batch) -> Image:
        """A batch to the x that the network sees and the likelihood scores: its
        ``levels`` 0 .. M to [-1, 1]; of continuous data ``x`` itself.

        Raises:
          KeyError: the batch lacks that entry.
        """
        if self.likelihood.continuous:
            return jnp.asarray(batch["x"])
        top = self.likelihood.max_level
        return 2.0 * batch["levels"].astype(jnp.float32) / top - 1.0

    def abstract_batch(self, num: int) -> Batch:
        """Shapes and types of ``num`` examples, as ``preprocess`` takes them."""
        shape = (num, *self.data_shape)
        if self.likelihood.continuous:
            return {"x": jax.ShapeDtypeStruct(shape, jnp.float32)}
        return {"levels": jax.ShapeDtypeStruct(shape, jnp.uint8)}

    def infer(
        self,
        params: Params,
        mutables: Params,
        x: Image,
        noise: Latents,
        *,
        train: bool,
        batch_statistics: bool = False,
        axis: str | None = None,
    ) -> Inferred:
        """Draw z from q(z|x) and decode it.

        Args:
          x: in [-1, 1], unpadded.
          noise: from ``draw``.
          train: normalise with batch statistics and update the running ones.
          batch_statistics: normalise with batch statistics, update nothing.
          axis: mapped axis over whose devices batch statistics are taken.
        """
        collections = [KERNELS, SCALES] + ([BATCH_STATS] if train else [])
        result: Any = self.network.clone(axis_name=axis).apply(
            {"params": params, BATCH_STATS: mutables[BATCH_STATS]},
            self._pad(x),
            noise,
            train=train or batch_statistics,
            mutable=collections,
        )
        (z, log_q, out), state = result
        return Inferred(
            z=z,
            log_q=log_q,
            out=self._inner(out),
            batch_stats=state.get(BATCH_STATS, mutables[BATCH_STATS]),
            kernels=state.get(KERNELS, {}),
            scales=state.get(SCALES, {}),
        )

    def encode(
        self, params: Params, mutables: Params, x: Image, noise: Latents
    ) -> Encoded:
        """Draw z0 from q(z|x) in evaluation mode: that of ``infer``, without the
        layers that stand behind the last of its groups.

        Args:
          x, noise: as in ``infer``.
        """
        owned = self._owned()
        needed = len(owned) - owned[::-1].index(True)
        drawn: Any = self.network.apply(
            {"params": params, BATCH_STATS: mutables[BATCH_STATS]},
            self._pad(x),
            noise[:needed],
            train=False,
            method="encode",
        )
        z, log_q = drawn
        return Encoded(self.join(z), self.join(log_q))

    def likelihood_of(self, out: Array) -> Any:
        """p(x|z) of the unpadded image, from ``Inferred.out``. A network with a
        context has seen x for it: it is then for ``log_prob(x)`` alone."""
        return self.likelihood.distribution(out)

    def generate(
        self,
        params: Params,
        mutables: Params,
        z: Latents,
        *,
        batch_statistics: bool = False,
    ) -> Any:
        """p(x|z) of the unpadded image for latents of all groups.

        Args:
          batch_statistics: normalise with the statistics of this batch instead of
            the running ones, which stay as they are.
        """
        variables = {"params": params, BATCH_STATS: mutables[BATCH_STATS]}
        out: Any = self.network.apply(
            variables, z, train=batch_statistics, method="decode"
        )
        if not self.context:
            return self.likelihood_of(self._inner(out))
        likelihood: Any = self.likelihood
        head: Any = functools.partial(self.network.apply, variables, method="head")
        return Sequential(
            features=out[:, :, 0],
            head=head,
            context=self.context,
            likelihood=likelihood,
        )

    def reconstruct(self, params: Params, mutables: Params, inferred: Inferred) -> Any:
        """p(x|z) of latents that ``infer`` has drawn, from them alone."""
        if self.context:
            return self.generate(params, mutables, inferred.z)
        return self.likelihood_of(inferred.out)

    def decoder_statistics(
        self, params: Params, mutables: Params, z: Latents
    ) -> Params:
        """Running statistics as this batch alone would have them.

        One decoding with batch statistics: each layer's mean and unbiased variance.
        Layers that decoding does not pass keep theirs.
        """
        old = mutables[BATCH_STATS]
        _, state = self.network.apply(
            {"params": params, BATCH_STATS: old},
            z,
            train=True,
            mutable=[BATCH_STATS],
            method="decode",
        )
        # The layers move their averages a known part of the way to the batch's.
        return jax.tree.map(
            lambda o, n: o + (n - o) / MOMENTUM, old, state.get(BATCH_STATS, old)
        )

    def join(self, z: Latents) -> Latent:
        """The groups of the prior's scales as one z0; groups behind the last of them
        may be left out."""
        height = self.prior_shape[0]
        chosen = [v for v, own in zip(z, self._owned(), strict=False) if own]
        folded = [fold(v, v.shape[1] // height) for v in chosen]
        return jnp.concatenate(folded, axis=-1)

    def rest(self, z: Latents) -> Latents:
        """The groups of all other scales."""
        return tuple(v for v, own in zip(z, self._owned(), strict=True) if not own)

    def merge(self, z0: Latent, rest: Latents) -> Latents:
        """All groups, of z0 and of the others."""
        parts = iter(self._split(z0))
        others = iter(rest)
        return tuple(next(parts if own else others) for own in self._owned())

    @property
    def rest_shapes(self) -> list[tuple[int, int, int]]:
        """(h, w, c) of each group that the prior does not model."""
        pairs = zip(self._group_shapes(), self._owned(), strict=True)
        return [shape for shape, own in pairs if not own]

    def _split(self, z0: Latent) -> Latents:
        height = self.prior_shape[0]
        shapes = [s for scale in self.prior_scales for s in self.latent_shapes[scale]]
        factors = [h // height for h, _, _ in shapes]
        widths = [c * f**2 for (_, _, c), f in zip(shapes, factors, strict=True)]
        ends = list(itertools.accumulate(widths))
        parts = jnp.split(z0, ends[:-1], axis=-1)
        return tuple(unfold(v, f) for v, f in zip(parts, factors, strict=True))

    def _owned(self) -> list[bool]:
        """Of each group, whether the prior models it."""
        return [
            scale in self.prior_scales
            for scale, groups in enumerate(self.latent_shapes)
            for _ in groups
        ]

    def _group_shapes(self) -> list[tuple[int, int, int]]:
        return [shape for scale in self.latent_shapes for shape in scale]

    def _pad(self, x: Image) -> Array:
        p = self.padding
        return jnp.pad(x, ((0, 0), (p, p), (p, p), (0, 0)), constant_values=-1.0)

    def _inner(self, out: Array) -> Array:
        p, (h, w, _) = self.padding, self.data_shape
        return out[:, p : p + h, p : p + w]


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdentityVAE(VAE):
    """The VAE of a prior on the data itself: latents are x (``lsgm.data_space``).

    It has no parameters, and its bound is the prior's: of levels by dequantisation, of
    continuous data their log-density.

    Attributes:
      likelihood: ``DequantisationLikelihood``, ``ContinuousLikelihood``, or for a prior
        without a bound ``RoundingLikelihood``.
    """

    network: nn.Module = dataclasses.field(init=False, repr=False)
    padding: int = dataclasses.field(default=0, init=False, repr=False)
    prior_scales: tuple[int, ...] = dataclasses.field(
        default=(0,), init=False, repr=False
    )

    def __post_init__(self) -> None:
        likelihood: Any = self.likelihood
        if not hasattr(likelihood, "bin_width"):
            raise ValueError(
                f"likelihood = {type(self.likelihood).__name__}: an identity VAE takes "
                "DequantisationLikelihood, ContinuousLikelihood or, without a bound, "
                "RoundingLikelihood of lsgm.data_space"
            )
        network = Identity(
            num_outputs=self.data_shape[-1], bin_width=likelihood.bin_width
        )
        object.__setattr__(self, "network", network)
        super().__post_init__()

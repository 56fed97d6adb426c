"""NVAE: a deep hierarchical VAE with unconditional priors, as LSGM trains it.

Levels are numbered by resolution, finest first: ``preprocess_blocks`` levels without
latents, then ``num_scales`` levels with ``groups_per_scale`` latent groups each; level
i has base_channels * channel_mult[i] channels in the encoder, and in the decoder the
same multiple of its own base. Groups are numbered in decoding order,
coarsest scale first. The posterior of a group depends on the image and on the groups
before it; the prior is left to the caller.

Source: LSGM, arXiv 2106.05931, appendix G; NVAE, arXiv 2007.03898.
"""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from lsgm.networks.nvae_decoder import Decoder, Group
from lsgm.networks.nvae_encoder import Cell, Encoder, Keep, Pyramid
from lsgm.typing import Array, Image, Latents

# Hidden width over input width of the inverted residuals of the decoder's tower
# and of its post-processing; 0 stands for twice BN-swish-convolution.
EXPANSIONS = {"res_bnswish": (0, 0), "res_mbconv": (6, 3)}

LatentShapes = tuple[tuple[tuple[int, int, int], ...], ...]


class NVAE(nn.Module):
    """Network of a hierarchical VAE.

    Attributes:
      base_channels_decoder: base of the decoder's channels; None: the encoder's.
      num_outputs: parameters of the likelihood per pixel.
      cells_per_group_encoder, cells_per_group_decoder: residual cells per group.
      preprocess_cells, postprocess_cells: cells per block, the one that changes the
        resolution included.
      cell: "res_bnswish" or "res_mbconv" (inverted residuals in the decoder).
      num_flows: pairs of autoregressive shifts after each posterior.
      input_skip: feed the preprocessed image to every scale of the encoder.
      log_std_clamp: bound of |log std| of the posterior.
      remat: recompute each cell's activations in the backward pass.
      axis_name: mapped axis whose devices share batch statistics.
      dtype: of the features; latents, densities, statistics are fp32.
    """

    base_channels: int
    channel_mult: tuple[int, ...]
    groups_per_scale: int
    latents_per_group: int
    num_outputs: int
    base_channels_decoder: int | None = None
    num_scales: int = 1
    cells_per_group_encoder: int = 1
    cells_per_group_decoder: int = 1
    preprocess_blocks: int = 1
    preprocess_cells: int = 2
    postprocess_cells: int = 2
    cell: str = "res_bnswish"
    use_se: bool = True
    num_flows: int = 0
    input_skip: bool = False
    log_std_clamp: float = 5.0
    remat: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        for name in (
            "base_channels",
            "groups_per_scale",
            "latents_per_group",
            "num_outputs",
            "num_scales",
            "cells_per_group_encoder",
            "cells_per_group_decoder",
            "preprocess_blocks",
            "preprocess_cells",
            "postprocess_cells",
        ):
            self._require(name, getattr(self, name) >= 1, "must be >= 1")
        self._require(
            "base_channels_decoder", self.decoder_channels >= 1, "must be >= 1 or None"
        )
        levels = self.preprocess_blocks + self.num_scales
        self._require(
            "channel_mult",
            len(self.channel_mult) == levels and min(self.channel_mult) >= 1,
            f"needs {levels} factors >= 1, one per level: preprocess_blocks = "
            f"{self.preprocess_blocks}, then num_scales = {self.num_scales}",
        )
        self._require(
            "base_channels",
            self.base_channels * min(self.channel_mult[1:]) >= 4,
            "a halving needs at least 4 channels",
        )
        self._require("cell", self.cell in EXPANSIONS, f"allowed are {[*EXPANSIONS]}")
        self._require("num_flows", self.num_flows >= 0, "must be >= 0")
        self._require("log_std_clamp", self.log_std_clamp > 0, "must be > 0")
        super().__post_init__()

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ValueError(f"{name} = {getattr(self, name)!r}: {allowed}")

    @property
    def decoder_channels(self) -> int:
        """Base of the decoder's channels."""
        if self.base_channels_decoder is None:
            return self.base_channels
        return self.base_channels_decoder

    @property
    def num_groups(self) -> int:
        return self.num_scales * self.groups_per_scale

    def latent_shapes(self, data_shape: tuple[int, int, int]) -> LatentShapes:
        """(h, w, c) of each group, by scale, coarsest first.

        Raises:
          ValueError: the image does not halve down to the coarsest scale.
        """
        coarsest = self.preprocess_blocks + self.num_scales - 1
        for size in data_shape[:2]:
            if size % 2**coarsest:
                raise ValueError(
                    f"data_shape = {data_shape!r}: height and width must be "
                    f"multiples of {2**coarsest} (preprocess_blocks + num_scales - 1 "
                    f"= {coarsest} halvings)"
                )
        h, w, _ = data_shape
        return tuple(
            ((h >> level, w >> level, self.latents_per_group),) * self.groups_per_scale
            for level in range(coarsest, self.preprocess_blocks - 1, -1)
        )

    def setup(self) -> None:
        shared: dict[str, Any] = dict(
            use_se=self.use_se,
            remat=self.remat,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )
        self.encoder = Encoder(
            steps=self.encoder_steps(),
            stem_features=self._encoder_features(0),
            **shared,
        )
        self.decoder = Decoder(
            steps=self.decoder_steps(),
            latents=self.latents_per_group,
            num_outputs=self.num_outputs,
            log_std_clamp=self.log_std_clamp,
            num_flows=self.num_flows,
            **shared,
        )

    def __call__(
        self, x: Image, noise: Latents, *, train: bool
    ) -> tuple[Latents, Latents, Array]:
        """Latents after the flows and their log q per variable in nats, by group,
        and the likelihood's parameters [b h w num_outputs].

        Args:
          x: in [-1, 1].
          noise: standard normal, by group.
        """
        return self.decoder.infer(self.encoder(x, train), noise, train)

    def encode(
        self, x: Image, noise: Latents, *, train: bool
    ) -> tuple[Latents, Latents]:
        """Latents and their log q of as many groups as ``noise`` is given for. The
        decoder runs up to the last of them, for each posterior needs the map decoded
        so far, and no further."""
        return self.decoder.encode(self.encoder(x, train), noise, train)

    def decode(self, z: Latents, *, train: bool) -> Array:
        """The likelihood's parameters for given latents, by group."""
        return self.decoder.decode(z, train)

    def encoder_steps(self) -> tuple[Cell | Keep | Pyramid, ...]:
        """What the encoder does, in order."""
        return tuple(self._preprocess()) + tuple(self._encoder_tower())

    def decoder_steps(self) -> tuple[Cell | Group, ...]:
        """What the decoder does, in order."""
        return tuple(self._decoder_tower()) + tuple(self._postprocess())

    def _encoder_features(self, level: int) -> int:
        return self.base_channels * self.channel_mult[level]

    def _decoder_features(self, level: int) -> int:
        return self.decoder_channels * self.channel_mult[level]

    def _preprocess(self) -> Iterator[Cell]:
        names = _names("pre")
        for level in range(self.preprocess_blocks):
            for _ in range(self.preprocess_cells - 1):
                yield Cell(next(names), "normal", self._encoder_features(level))
            yield Cell(next(names), "down", self._encoder_features(level + 1))

    def _encoder_tower(self) -> Iterator[Cell | Keep | Pyramid]:
        names = _names("tower")
        if self.input_skip:
            yield Pyramid(None, self._encoder_features(self.preprocess_blocks))
        for scale in range(self.num_scales):
            features = self._encoder_features(self.preprocess_blocks + scale)
            if scale:
                yield Cell(next(names), "down", features)
                if self.input_skip:
                    yield Pyramid(f"pyramid_{scale - 1}", features)
            for i in range(self.groups_per_scale):
                for _ in range(self.cells_per_group_encoder):
                    yield Cell(next(names), "normal", features)
                yield Keep(self.num_groups - 1 - scale * self.groups_per_scale - i)

    def _decoder_tower(self) -> Iterator[Cell | Group]:
        names = _names("tower")
        expansion, _ = EXPANSIONS[self.cell]
        for scale in range(self.num_scales):
            level = self.preprocess_blocks + self.num_scales - 1 - scale
            features = self._decoder_features(level)
            if scale:
                yield Cell(next(names), "up", features, expansion)
            for i in range(self.groups_per_scale):
                yield Group(scale * self.groups_per_scale + i, features)
                for _ in range(self.cells_per_group_decoder):
                    yield Cell(next(names), "normal", features, expansion)

    def _postprocess(self) -> Iterator[Cell]:
        names = _names("post")
        _, expansion = EXPANSIONS[self.cell]
        for level in reversed(range(self.preprocess_blocks)):
            yield Cell(next(names), "up", self._decoder_features(level), expansion)
            for _ in range(self.postprocess_cells - 1):
                yield Cell(
                    next(names), "normal", self._decoder_features(level), expansion
                )


def _names(part: str) -> Iterator[str]:
    i = 0
    while True:
        yield f"{part}_{i}"
        i += 1

"""Volume-preserving autoregressive flows on latent maps.

    z <- z - m(z),                                                         (1)

where m at a pixel and channel sees what comes before it in raster order: all
channels of earlier pixels, and the pixel's own lower channels. The Jacobian is
triangular with unit diagonal, so log det = 0. One flow is Eq. (1) twice, the
second time in reversed raster order; the order of channels is not reversed.

m is masked 3x3 (n -> 6n, strictly causal), ELU, masked depthwise 5x5, ELU, masked
1x1 (6n -> n). Hidden channels come in blocks of six per latent channel.

Source: NVAE, arXiv 2007.03898, section 3.3 and appendix A; LSGM's published models.
"""

from typing import Any

import flax.linen as nn
import numpy as np

from lsgm.networks.layers import WNConv
from lsgm.typing import Latent

EXPANSION = 6


class MaskedConv(WNConv):
    """Weight-normalised convolution that sees earlier pixels and lower channels.

    Attributes:
      blocks: into how many blocks input and output channels fall.
      strict: whether an output block is blind to its own input block.
      reverse: reversed raster order.
    """

    blocks: int = 1
    strict: bool = False
    reverse: bool = False

    def mask(self, shape: tuple[int, ...]) -> np.ndarray:
        kh, kw, channels, features = shape
        mask = np.zeros(shape)
        mask[: kh // 2] = 1
        mask[kh // 2, : kw // 2] = 1
        outputs = np.arange(features) * self.blocks // features
        inputs = outputs[None] if self.depthwise else np.arange(channels)[:, None]
        if not self.depthwise:
            inputs = inputs * self.blocks // channels
        visible = inputs < outputs if self.strict else inputs <= outputs
        mask[kh // 2, kw // 2] = visible
        return mask[::-1, ::-1] if self.reverse else mask


class AutoregressiveShift(nn.Module):
    """Eq. (1), once."""

    reverse: bool = False

    @nn.compact
    def __call__(self, z: Latent) -> Latent:
        n = z.shape[-1]
        order: dict[str, Any] = dict(blocks=n, reverse=self.reverse)
        h = MaskedConv(
            EXPANSION * n, use_bias=False, strict=True, name="expand", **order
        )(z)
        h = MaskedConv(
            EXPANSION * n,
            (5, 5),
            use_bias=False,
            depthwise=True,
            name="depthwise",
            **order,
        )(nn.elu(h))
        shift = MaskedConv(n, (1, 1), gain_init=0.1, name="reduce", **order)(nn.elu(h))
        return z - shift


class Flow(nn.Module):
    """Eq. (1) in raster order, then in reversed raster order."""

    @nn.compact
    def __call__(self, z: Latent) -> Latent:
        z = AutoregressiveShift(name="forward")(z)
        return AutoregressiveShift(reverse=True, name="backward")(z)

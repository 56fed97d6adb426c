r"""MobileNetV2 up to its last pooling: a small classifier's features of images.

    x -> 3x3, stride 2 -> 17 inverted residuals -> 1x1 -> mean over space.

An inverted residual widens its input t times by a 1x1 convolution (left out where
t = 1), filters each channel by itself (3x3, and here it halves the size), and narrows
to its outputs by a 1x1 convolution. A rectifier cut at 6 follows all but the last; the
input is added where neither size nor channels change. Zeros stand around the image,
one on every side, also where the size is halved.

Every convolution k is normalised by stored statistics, with eps = 1e-5, which is
another convolution:

    scale (k * x - mean) / sqrt(var + eps) + bias = (g k) * x + (bias - g mean),
    g = scale / sqrt(var + eps).                                              (1)

Inference only. Source: Sandler et al., arXiv 1801.04381.
"""

from typing import NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from lsgm.networks.depthwise import depthwise
from lsgm.typing import Array, Float, Image

NUM_FEATURES = 1280
EPSILON = 1e-5
Maps: TypeAlias = Float[Array, "b _ _ _"]
Channels: TypeAlias = Float[Array, " c"]


class MobileStage(NamedTuple):
    """Blocks of one width.

    Attributes:
      expansion: t.
      channels: outputs of each block.
      blocks: how many; the first takes the stride.
    """

    expansion: int
    channels: int
    blocks: int
    stride: int


STAGES = (
    MobileStage(1, 16, 1, 1),
    MobileStage(6, 24, 2, 2),
    MobileStage(6, 32, 3, 2),
    MobileStage(6, 64, 4, 2),
    MobileStage(6, 96, 3, 1),
    MobileStage(6, 160, 3, 2),
    MobileStage(6, 320, 1, 1),
)


def folded(
    kernel: Float[Array, "kh kw i c"],
    scale: Channels,
    bias: Channels,
    mean: Channels,
    var: Channels,
) -> tuple[Float[Array, "kh kw i c"], Channels]:
    """Kernel and bias of the right side of Eq. (1)."""
    gain = scale * jax.lax.rsqrt(var + EPSILON)
    return kernel * gain[None, None, None], bias - gain * mean


class MobileConv(nn.Module):
    """Convolution and normalisation, Eq. (1).

    Attributes:
      by_channel: one filter per channel; ``features`` are then the input's channels.
    """

    features: int
    size: int
    stride: int = 1
    by_channel: bool = False

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        inputs = 1 if self.by_channel else x.shape[-1]
        shape = (self.size, self.size, inputs, self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        starts = {"scale": ones, "bias": zeros, "mean": zeros, "var": ones}
        stored = (
            self.param(name, start, (self.features,)) for name, start in starts.items()
        )
        kernel, bias = folded(kernel, *stored)
        if self.by_channel:
            h = depthwise(x, kernel, self.stride)
        else:
            h = jax.lax.conv_general_dilated(
                x,
                kernel,
                (self.stride, self.stride),
                [(self.size // 2, self.size // 2)] * 2,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                precision=jax.lax.Precision.HIGHEST,
            )
        return h + bias[None, None, None]


class MobileResidual(nn.Module):
    """Widen, filter, narrow."""

    expansion: int
    channels: int
    stride: int

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        h, hidden = x, self.expansion * x.shape[-1]
        if self.expansion != 1:
            h = nn.relu6(MobileConv(hidden, 1, name="expand")(h))
        filtered = MobileConv(hidden, 3, self.stride, by_channel=True, name="depthwise")
        h = MobileConv(self.channels, 1, name="project")(nn.relu6(filtered(h)))
        return x + h if self.stride == 1 and h.shape == x.shape else h


class MobileNetV2(nn.Module):
    """Images [b h w 3], normalised as the classifier's were, to features [b d].

    Blocks are numbered from 0, the first convolution, on. Defaults are the published
    widths. Sizes are multiples of 32 that the last map is 1/32 of.
    """

    stem: int = 32
    stages: tuple[MobileStage, ...] = STAGES
    num_features: int = NUM_FEATURES

    @nn.compact
    def __call__(self, x: Image) -> Float[Array, "b d"]:
        h = nn.relu6(MobileConv(self.stem, 3, 2, name="0")(x))
        blocks = [
            (stage.expansion, stage.channels, stage.stride if first else 1)
            for stage in self.stages
            for first in [True] + [False] * (stage.blocks - 1)
        ]
        for number, block in enumerate(blocks, 1):
            h = MobileResidual(*block, name=str(number))(h)
        last = MobileConv(self.num_features, 1, name=str(len(blocks) + 1))
        return jnp.mean(nn.relu6(last(h)), axis=(1, 2))

r"""Inception-v3 as the 2015-12-05 TensorFlow graph has it, up to its last pooling.

The network whose features published Frechet Inception distances are measured in:

    x -> five convolutions, two poolings -> 3 blocks at 35x35 (A) -> halve (B)
      -> 4 blocks at 17x17 (C) -> halve (D) -> 2 blocks at 8x8 (E) -> mean over space,

for x of 299x299 pixels. A block runs branches of convolutions side by side, the last
of them after a pooling, and joins their channels. Every convolution is followed by
batch normalisation with stored statistics, eps = 1e-3, and a rectifier. It is not
the Inception-v3 of today's libraries: average poolings leave padding out of the mean
here, and the pooling of the last block takes the maximum. Modules are named as in the
published port of the weights. Inference only.

Source: Szegedy et al., arXiv 1512.00567; the graph itself.
"""

from typing import Literal, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from lsgm.typing import Array, Float, Image

NUM_FEATURES = 2048
MIN_SIZE = 75
EPSILON = 1e-3
Maps: TypeAlias = Float[Array, "b _ _ _"]
Pool: TypeAlias = Literal["average", "max", "halve"]


class InceptionLayer(NamedTuple):
    """A convolution: its name, channels, and kernel (height, width). A stride of 1
    keeps the size; one of 2 takes no padding."""

    name: str
    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


class Block(NamedTuple):
    """Branches side by side.

    Attributes:
      branches: chains of layers; a pair in a chain's last place are two layers with
        one input, both of which are outputs.
      pool: of the last branch.
      pool_features: channels of a 1x1 convolution behind the pooling; 0 for none.
    """

    branches: tuple[
        tuple[InceptionLayer | tuple[InceptionLayer, InceptionLayer], ...], ...
    ]
    pool: Pool
    pool_features: int


class InceptionConv(nn.Module):
    """Convolution, normalisation by stored statistics, rectifier."""

    features: int
    kernel: tuple[int, int]
    stride: int
    padding: str

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        h = nn.Conv(
            self.features,
            self.kernel,
            self.stride,
            padding=self.padding,
            use_bias=False,
            precision=jax.lax.Precision.HIGHEST,
            name="conv",
        )(x)
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        scale, bias, mean, var = (
            self.param(name, start, (self.features,), jnp.float32)[None, None, None]
            for name, start in zip(
                ("scale", "bias", "mean", "var"),
                (ones, zeros, zeros, ones),
                strict=True,
            )
        )
        return nn.relu((h - mean) * (scale * jax.lax.rsqrt(var + EPSILON)) + bias)


class Mixed(nn.Module):
    """Branches side by side, their channels joined."""

    block: Block

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        outputs = []
        for branch in self.block.branches:
            h, ends = x, branch[-1]
            for layer in branch[:-1]:
                assert isinstance(layer, InceptionLayer)
                h = convolved(h, layer)
            pair = (ends,) if isinstance(ends, InceptionLayer) else ends
            outputs += [convolved(h, layer) for layer in pair]
        pooled = POOLINGS[self.block.pool](x)
        if self.block.pool_features:
            pooled = convolved(
                pooled, InceptionLayer("branch_pool", self.block.pool_features)
            )
        return jnp.concatenate([*outputs, pooled], axis=-1)


def convolved(x: Maps, layer: InceptionLayer, padding: str | None = None) -> Maps:
    """A layer of the module that calls."""
    default = "SAME" if layer.stride == 1 else "VALID"
    return InceptionConv(
        layer.features,
        layer.kernel,
        layer.stride,
        padding=padding or default,
        name=layer.name,
    )(x)


def average(x: Maps) -> Maps:
    """Mean over 3x3 neighbours, over those that exist."""
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def halve(x: Maps) -> Maps:
    """Maximum over 3x3, every other one."""
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")


POOLINGS = {
    "average": average,
    "max": lambda x: nn.max_pool(x, (3, 3), (1, 1), "SAME"),
    "halve": halve,
}

WIDE, TALL = (1, 7), (7, 1)
DOUBLE = (
    InceptionLayer("branch3x3dbl_1", 64),
    InceptionLayer("branch3x3dbl_2", 96, (3, 3)),
)


def block_a(pool_features: int) -> Block:
    """At 35x35: 1x1, 5x5, two 3x3, pooling."""
    branches = (
        (InceptionLayer("branch1x1", 64),),
        (InceptionLayer("branch5x5_1", 48), InceptionLayer("branch5x5_2", 64, (5, 5))),
        (*DOUBLE, InceptionLayer("branch3x3dbl_3", 96, (3, 3))),
    )
    return Block(branches, "average", pool_features)


def block_b() -> Block:
    """35x35 to 17x17."""
    branches = (
        (InceptionLayer("branch3x3", 384, (3, 3), 2),),
        (*DOUBLE, InceptionLayer("branch3x3dbl_3", 96, (3, 3), 2)),
    )
    return Block(branches, "halve", 0)


def block_c(width: int) -> Block:
    """At 17x17: 7x7 in two and in four one-dimensional convolutions."""
    branches = (
        (InceptionLayer("branch1x1", 192),),
        (
            InceptionLayer("branch7x7_1", width),
            InceptionLayer("branch7x7_2", width, WIDE),
            InceptionLayer("branch7x7_3", 192, TALL),
        ),
        (
            InceptionLayer("branch7x7dbl_1", width),
            InceptionLayer("branch7x7dbl_2", width, TALL),
            InceptionLayer("branch7x7dbl_3", width, WIDE),
            InceptionLayer("branch7x7dbl_4", width, TALL),
            InceptionLayer("branch7x7dbl_5", 192, WIDE),
        ),
    )
    return Block(branches, "average", 192)


def block_d() -> Block:
    """17x17 to 8x8."""
    branches = (
        (
            InceptionLayer("branch3x3_1", 192),
            InceptionLayer("branch3x3_2", 320, (3, 3), 2),
        ),
        (
            InceptionLayer("branch7x7x3_1", 192),
            InceptionLayer("branch7x7x3_2", 192, WIDE),
            InceptionLayer("branch7x7x3_3", 192, TALL),
            InceptionLayer("branch7x7x3_4", 192, (3, 3), 2),
        ),
    )
    return Block(branches, "halve", 0)


def block_e(pool: Pool) -> Block:
    """At 8x8: branches that end in a row and a column side by side."""
    branches = (
        (InceptionLayer("branch1x1", 320),),
        (InceptionLayer("branch3x3_1", 384), _crossed("branch3x3_2")),
        (
            InceptionLayer("branch3x3dbl_1", 448),
            InceptionLayer("branch3x3dbl_2", 384, (3, 3)),
            _crossed("branch3x3dbl_3"),
        ),
    )
    return Block(branches, pool, 192)


def _crossed(name: str) -> tuple[InceptionLayer, InceptionLayer]:
    return InceptionLayer(f"{name}a", 384, (1, 3)), InceptionLayer(
        f"{name}b", 384, (3, 1)
    )


BLOCKS = {
    "Mixed_5b": block_a(32),
    "Mixed_5c": block_a(64),
    "Mixed_5d": block_a(64),
    "Mixed_6a": block_b(),
    "Mixed_6b": block_c(128),
    "Mixed_6c": block_c(160),
    "Mixed_6d": block_c(160),
    "Mixed_6e": block_c(192),
    "Mixed_7a": block_d(),
    "Mixed_7b": block_e("average"),
    "Mixed_7c": block_e("max"),
}


class InceptionV3(nn.Module):
    """Images [b h w 3], scaled to [-1, 1], to pooled features [b 2048].

    Published features are of 299x299; below ``MIN_SIZE`` nothing is left to pool.
    """

    @nn.compact
    def __call__(self, x: Image) -> Float[Array, "b d"]:
        h = convolved(x, InceptionLayer("Conv2d_1a_3x3", 32, (3, 3), 2))
        h = convolved(h, InceptionLayer("Conv2d_2a_3x3", 32, (3, 3)), "VALID")
        h = convolved(h, InceptionLayer("Conv2d_2b_3x3", 64, (3, 3)))
        h = halve(h)
        h = convolved(h, InceptionLayer("Conv2d_3b_1x1", 80))
        h = convolved(h, InceptionLayer("Conv2d_4a_3x3", 192, (3, 3)), "VALID")
        h = halve(h)
        for name, block in BLOCKS.items():
            h = Mixed(block, name=name)(h)
        return h.mean((1, 2))

"""A small convolutional classifier, whose features measure images of one data set.

    x -> conv 3x3 -> conv 3x3 /2 -> conv 3x3 -> conv 3x3 /2 -> features -> classes (1)

with GELU after each convolution. The features are the output of a dense layer
*before* its non-linearity: a Frechet distance models them as Gaussian, and a
rectified feature has an atom at zero.
"""

import flax.linen as nn
import jax

from lsgm.networks.layers import Conv
from lsgm.typing import Array, Float, Image


class ConvClassifier(nn.Module):
    """Eq. (1) for images in [0, 1].

    Attributes:
      num_classes: classes told apart.
      num_features: width of the penultimate layer.
      width: channels of the first two convolutions; the last two have twice that.
    """

    num_classes: int
    num_features: int
    width: int

    def setup(self) -> None:
        widths = (self.width, self.width, 2 * self.width, 2 * self.width)
        self.convs = [
            Conv(features=width, strides=1 + i % 2) for i, width in enumerate(widths)
        ]
        self.penultimate = nn.Dense(self.num_features)
        self.head = nn.Dense(self.num_classes)

    def features(self, x: Image) -> Float[Array, "b d"]:
        """Penultimate features, before their non-linearity."""
        h = 2 * x - 1
        for conv in self.convs:
            h = jax.nn.gelu(conv(h))
        return self.penultimate(h.reshape(h.shape[0], -1))

    def __call__(self, x: Image) -> Float[Array, "b k"]:
        """Class logits."""
        return self.head(jax.nn.gelu(self.features(x)))

"""Classes for networks of images: one channel a class instead of a number."""

from typing import Any

import flax.linen as nn
import jax

from lsgm import numerics
from lsgm.typing import Array, Float, Image, Latents


class OneHotInput(nn.Module):
    """A VAE network that sees classes one-hot, so that it assumes no order of them.

    Attributes:
      network: of images with ``num_classes`` channels for each one of the data, such as
        ``lsgm.networks.conv:ConvVAE``.
      num_classes: K of ``lsgm.categorical:CategoricalLikelihood``.
    """

    network: nn.Module
    num_classes: int
    axis_name: str | None = None

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ValueError(f"num_classes = {self.num_classes}: must be >= 2")
        super().__post_init__()

    @property
    def num_outputs(self) -> int:
        """As the network's."""
        network: Any = self.network
        return network.num_outputs

    @nn.nowrap
    def latent_shapes(
        self, data_shape: tuple[int, int, int]
    ) -> tuple[tuple[tuple[int, int, int], ...], ...]:
        """As the network's, of the one-hot image."""
        h, w, c = data_shape
        network: Any = self.network
        return network.latent_shapes((h, w, c * self.num_classes))

    def setup(self) -> None:
        self.inner: Any = self.network.clone(axis_name=self.axis_name)

    def __call__(
        self, x: Image, noise: Latents, *, train: bool
    ) -> tuple[Latents, Latents, Array]:
        """As ``ConvVAE``."""
        return self.inner(self._one_hot(x), noise, train=train)

    def encode(
        self, x: Image, noise: Latents, *, train: bool
    ) -> tuple[Latents, Latents]:
        """As ``ConvVAE``."""
        return self.inner.encode(self._one_hot(x), noise, train=train)

    def decode(self, z: Latents, *, train: bool) -> Array:
        """As ``ConvVAE``."""
        return self.inner.decode(z, train=train)

    def _one_hot(self, x: Image) -> Float[Array, "b h w d"]:
        codes = numerics.to_codes(x, self.num_classes - 1)
        return jax.nn.one_hot(codes, self.num_classes).reshape(*x.shape[:3], -1)

"""The VAE network of a prior that runs on the data itself: z is x, or x with noise."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lsgm.typing import Array, Float, Image, Latents


class Identity(nn.Module):
    """Encoder and decoder without parameters (``lsgm.data_space``, Eq. (1)).

    Attributes:
      num_outputs: channels of the data.
      bin_width: width w of the uniform noise that is added; None adds none.
    """

    num_outputs: int
    bin_width: float | None
    axis_name: str | None = None

    @nn.nowrap
    def latent_shapes(
        self, data_shape: tuple[int, int, int]
    ) -> tuple[tuple[tuple[int, int, int], ...], ...]:
        """One group of the data's shape."""
        return ((data_shape,),)

    def __call__(
        self, x: Image, noise: Latents, *, train: bool
    ) -> tuple[Latents, Latents, Array]:
        """Latents, their log-density per variable in nats, and the outputs: z.

        Args:
          noise: standard normal; its distribution function makes it uniform.
        """
        z, log_q = self.encode(x, noise, train=train)
        return z, log_q, self.decode(z, train=train)

    def encode(
        self, x: Image, noise: Latents, *, train: bool
    ) -> tuple[Latents, Latents]:
        """The latents and their log-density alone."""
        del train
        z, log_q = self._draw(x, noise[0])
        return (z,), (log_q,)

    def decode(self, z: Latents, *, train: bool) -> Array:
        """The outputs: z."""
        del train
        return z[0]

    def _draw(self, x: Image, noise: Image) -> tuple[Array, Float[Array, "b h w c"]]:
        if self.bin_width is None:
            return x, jnp.zeros_like(x)
        uniform = jax.scipy.special.ndtr(noise)
        z = x + self.bin_width * (uniform - 0.5)
        return z, jnp.full_like(x, -math.log(self.bin_width))

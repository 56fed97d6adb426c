r"""VAE of sequences of classes: convolutions, halved places, one latent group.

The decoder turns latents into features f_i of every place, at once. Its head sees also
the k codes before the place (``context``),

    l_i = W swish(V f_i + sum_j E_j[x_{i-j}]) + b,   j = 1 .. k,           (1)

and for k = 0 nothing but f_i: then symbols are independent given z, and all that they
have to do with one another stands in the latents. A larger k leaves the latents less to
say; they may end up saying nothing (posterior collapse).

Source: the head, Bengio et al., JMLR 3 (2003).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lsgm import numerics
from lsgm.networks.posterior import draw_posterior
from lsgm.networks.sequence_layers import Double, Halve, Placed, SequenceBlock, dense
from lsgm.typing import Array, Float, Image, Int, Latents

COUNTED = ("num_outputs", "width", "latent_channels", "head_width")


class SequenceVAE(nn.Module):
    """Network of a VAE of sequences [n 1 1] of classes.

    Attributes:
      num_outputs: K, the number of classes.
      width: features of a place.
      halvings: how often places are halved on the way to the latents; 0 for tables.
      latent_channels: latents at each remaining place.
      context: k of Eq. (1), symbols that a symbol's distribution sees before it.
      head_width: hidden features of the head of a decoder with context.
      log_std_clamp: bound of |log std| of the posterior.
      axis_name: mapped device axis; no statistic here is taken over the batch.
    """

    num_outputs: int
    width: int = 96
    halvings: int = 2
    latent_channels: int = 16
    context: int = 0
    head_width: int = 256
    log_std_clamp: float = 5.0
    axis_name: str | None = None

    def __post_init__(self) -> None:
        for name in COUNTED:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be >= 1")
        for name in ("halvings", "context"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)}: must be >= 0")
        if self.log_std_clamp <= 0:
            raise ValueError(f"log_std_clamp = {self.log_std_clamp}: must be > 0")
        super().__post_init__()

    @nn.nowrap
    def latent_shapes(
        self, data_shape: tuple[int, int, int]
    ) -> tuple[tuple[tuple[int, int, int], ...], ...]:
        """(h, w, c) of the one group of the one scale.

        Raises:
          ValueError: no sequence, or one that does not halve so often.
        """
        n, factor = data_shape[0], 2**self.halvings
        if data_shape[1:] != (1, 1) or n % factor:
            raise ValueError(
                f"data_shape = {data_shape!r}: expected (n, 1, 1), n a multiple of "
                f"{factor} (halvings = {self.halvings})"
            )
        return (((n // factor, 1, self.latent_channels),),)

    def setup(self) -> None:
        halvings = range(self.halvings)
        self.read = Placed(self.width)
        self.encoder = [SequenceBlock() for _ in range(self.halvings + 1)]
        self.halve = [Halve() for _ in halvings]
        self.posterior = dense(2 * self.latent_channels)
        self.start = Placed(self.width)
        self.decoder = [SequenceBlock() for _ in range(self.halvings + 2)]
        self.double = [Double() for _ in halvings]
        self.norm = nn.LayerNorm()
        if self.context:
            self.hidden = dense(self.head_width)
            # E_j of Eq. (1), for all j in one table; code K stands before the start.
            rows = self.context * (self.num_outputs + 1)
            # Codes start as loud as the features: smaller ones are learned slowly.
            init = nn.initializers.normal(1.0)
            self.before = nn.Embed(rows, self.head_width, embedding_init=init)
        self.logits = dense(self.num_outputs)

    def __call__(
        self, x: Image, noise: Latents, *, train: bool
    ) -> tuple[Latents, Latents, Array]:
        """Latents, their log q per variable in nats, and logits [b n 1 K]; with a
        context these have seen the symbols of x before each place."""
        z, log_q = self.encode(x, noise, train=train)
        features = self._features(z[0])
        codes = numerics.to_codes(x, self.num_outputs - 1)[:, :, 0, 0]
        before = numerics.previous(codes, self.context, self.num_outputs)
        logits = self.head(features[:, :, 0], before)
        return z, log_q, logits[:, :, None]

    def encode(
        self, x: Image, noise: Latents, *, train: bool
    ) -> tuple[Latents, Latents]:
        """The latent and its log q alone; alike in both modes."""
        del train
        codes = numerics.to_codes(x, self.num_outputs - 1)[..., 0]
        h = self.encoder[0](self.read(jax.nn.one_hot(codes, self.num_outputs)))
        for halve, block in zip(self.halve, self.encoder[1:], strict=True):
            h = block(halve(h))
        z, log_q = draw_posterior(self.posterior(h), noise[0], self.log_std_clamp)
        return (z,), (log_q,)

    def decode(self, z: Latents, *, train: bool) -> Array:
        """Logits [b n 1 K] for a given latent; with a context the head's features
        [b n 1 f]. Alike in both modes."""
        del train
        features = self._features(z[0])
        return features if self.context else self.logits(features)

    def head(
        self, features: Float[Array, "b m f"], before: Int[Array, "b m k"]
    ) -> Float[Array, "b m K"]:
        """Eq. (1): logits of places from their features and the codes before them,
        the nearest last."""
        if not self.context:
            return self.logits(features)
        offsets = (self.num_outputs + 1) * jnp.arange(self.context)
        # As a product with one-hot rows, whose gradient is no scatter.
        rows = before + offsets[None, None]
        table = self.before.embedding
        hot = jax.nn.one_hot(rows, len(table), dtype=table.dtype).sum(-2)
        return self.logits(nn.swish(self.hidden(features) + hot @ table))

    def _features(self, z: Float[Array, "b m 1 c"]) -> Float[Array, "b n 1 f"]:
        h = self.decoder[0](self.start(z))
        for double, block in zip(self.double, self.decoder[1:-1], strict=True):
            h = block(double(h))
        return self.norm(self.decoder[-1](h))

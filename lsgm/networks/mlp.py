r"""A small noise predictor for latents without spatial structure: toy problems.

    h <- swish(linear(h) + linear(e(t))),   ``depth`` times from h = u flattened;   (1)
    eps' = linear(h), near zero at the start.                              (2)

e(t) are features of the time. Everything is fp32.
"""

import math

import flax.linen as nn

from lsgm.networks.embeddings import Positional
from lsgm.networks.layers import NEAR_ZERO, fan_avg
from lsgm.typing import Array, Float, Time


class MLP(nn.Module):
    """Noise predictor eps'(u, t), Eqs. (1) and (2), that sees all of u at once.

    Attributes:
      width, depth: of the hidden layers.
      embedding: features of t, a module of ``lsgm.networks.embeddings``.
      out_channels: the input's when None.

    Raises:
      ValueError: ``width``, ``depth`` or ``out_channels`` is below 1.
    """

    width: int = 128
    depth: int = 4
    embedding: nn.Module = Positional()
    out_channels: int | None = None

    def __post_init__(self) -> None:
        for name in ("width", "depth", "out_channels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} = {getattr(self, name)!r}: must be >= 1")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, u: Float[Array, "b h w c"], t: Time, *, train: bool
    ) -> Float[Array, "b h w d"]:
        """Predicted noise eps' of latents ``u`` at times ``t``."""
        del train
        features, h = self.embedding(t), u.reshape(u.shape[0], -1)
        for i in range(self.depth):
            h = self._dense(self.width, f"hidden_{i}")(h)
            h = nn.swish(h + self._dense(self.width, f"time_{i}")(features))
        channels = u.shape[-1] if self.out_channels is None else self.out_channels
        shape = (*u.shape[:3], channels)
        out = self._dense(math.prod(shape[1:]), "head", NEAR_ZERO)(h)
        return out.reshape(shape)

    def _dense(self, features: int, name: str, scale: float = 1.0) -> nn.Dense:
        return nn.Dense(features, kernel_init=fan_avg(scale), name=name)

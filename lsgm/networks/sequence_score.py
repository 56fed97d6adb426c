"""A noise predictor for latents of sequences, [b n 1 c]."""

import flax.linen as nn

from lsgm.networks.attention import AttentionBlock
from lsgm.networks.embeddings import Positional
from lsgm.networks.sequence_layers import Placed, SequenceBlock, dense
from lsgm.typing import Array, Float, Time

# Of the head's kernel at the start: the network starts as good as silent.
QUIET = 1e-3


class SequenceScore(nn.Module):
    """Predicted noise eps'(u, t): residual blocks over places, and self-attention of
    all places after two thirds of them.

    Attributes:
      width: features of a place, and of the time.
      blocks: how many.
      embedding: features of t, a module of ``lsgm.networks.embeddings``.

    Raises:
      ValueError: ``width`` is below 4 or ``blocks`` below 1.
    """

    width: int = 128
    blocks: int = 6
    embedding: nn.Module = Positional()

    def __post_init__(self) -> None:
        if self.width < 4 or self.width % 4:
            raise ValueError(f"width = {self.width}: must be a multiple of 4")
        if self.blocks < 1:
            raise ValueError(f"blocks = {self.blocks}: must be >= 1")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, u: Float[Array, "b n 1 c"], t: Time, *, train: bool
    ) -> Float[Array, "b n 1 c"]:
        """Predicted noise eps' of latents ``u`` at times ``t``."""
        del train
        time = dense(self.width)(self.embedding(t))
        time = nn.swish(dense(self.width)(nn.swish(time)))
        h, attended = Placed(self.width)(u), -(-2 * self.blocks // 3)
        for i in range(1, self.blocks + 1):
            h = SequenceBlock()(h, time)
            if i == attended:
                h = AttentionBlock()(h)
        start = nn.initializers.normal(QUIET)
        return nn.Dense(u.shape[-1], kernel_init=start)(nn.LayerNorm()(h))

"""Bottom-up half of the NVAE: from the image to one feature map per latent group.

A tower of residual cells, fine to coarse. After the cells of each group the map is
kept for the decoder, which meets the groups in the opposite order. With a pyramid
(``input_skip``), every halving also adds a strided convolution of the tower's
input, which is halved along with it.

Source: LSGM, arXiv 2106.05931, appendix G; NVAE, arXiv 2007.03898.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from lsgm.networks.layers import WNConv
from lsgm.networks.nvae_cells import BNSwishConv, ResidualCell
from lsgm.typing import Array, Image


class Cell(NamedTuple):
    """A residual cell: its name, what it does to the resolution, its channels."""

    name: str
    kind: str
    features: int
    expansion: int = 0


class Keep(NamedTuple):
    """Keep the map for this latent group, numbered in decoding order."""

    group: int


class Pyramid(NamedTuple):
    """Start the pyramid (no name), or halve it and add it to the map."""

    name: str | None
    features: int


class Encoder(nn.Module):
    """Runs the steps that ``NVAE.encoder_steps`` lists."""

    steps: tuple[Any, ...]
    stem_features: int
    use_se: bool = True
    remat: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Image, train: bool) -> dict[int, Array]:
        """Feature maps by latent group."""
        s = WNConv(self.stem_features, name="stem")(x.astype(self.dtype))
        kept, pyramid = {}, s
        for step in self.steps:
            if isinstance(step, Cell):
                s = cell_module(step, self)(s, train)
            elif isinstance(step, Keep):
                kept[step.group] = s
            elif step.name is None:
                pyramid = s
            else:
                pyramid = BNSwishConv(
                    step.features, "down", self.axis_name, name=step.name
                )(pyramid, train)
                s = s + pyramid
        return kept


def cell_module(cell: Cell, tower: Any) -> nn.Module:
    """The cell as a submodule of the ``tower`` under construction."""
    cls = ResidualCell
    if tower.remat and not tower.is_initializing():
        cls = nn.remat(ResidualCell, static_argnums=(2,))
    return cls(
        cell.features,
        cell.kind,
        cell.expansion,
        tower.use_se,
        tower.axis_name,
        name=cell.name,
    )

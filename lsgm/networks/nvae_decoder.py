"""Top-down half of the NVAE: latents, one group after the other, then the image.

From a learned map, for every group: a posterior from the encoder's map and what is
decoded so far, a draw from it, and the draw merged into the map. The prior of a
group does not depend on what is decoded (it is N(0, I), or the latent score model),
so decoding given latents is the same walk without the posteriors.

Source: LSGM, arXiv 2106.05931, appendix G; NVAE, arXiv 2007.03898.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from lsgm.networks.layers import WNConv, flat_uniform
from lsgm.networks.nvae_encoder import Cell, cell_module
from lsgm.networks.nvae_flows import Flow
from lsgm.networks.posterior import draw_posterior
from lsgm.typing import Array, Latent, Latents


class Group(NamedTuple):
    """A latent group, numbered in decoding order, on a map of so many channels."""

    index: int
    features: int


class Posterior(nn.Module):
    """q(z_l | z_<l, x) and one draw from it, after the flows."""

    latents: int
    log_std_clamp: float
    num_flows: int

    @nn.compact
    def __call__(
        self, kept: Array, state: Array | None, noise: Latent
    ) -> tuple[Latent, Latent]:
        """Draw z_l; its log-density is taken before the flows, which keep volume.

        Args:
          state: what is decoded so far; None for the first group.
        """
        features = kept
        if state is not None:
            features = kept + WNConv(kept.shape[-1], (1, 1), name="combiner")(state)
        raw = WNConv(2 * self.latents, name="conv")(nn.elu(features))
        z, log_q = draw_posterior(raw, noise, self.log_std_clamp)
        for i in range(self.num_flows):
            z = Flow(name=f"flow_{i}")(z)
        return z, log_q


class Merge(nn.Module):
    """Join a latent group to the decoded map."""

    @nn.compact
    def __call__(self, state: Array, z: Latent) -> Array:
        z = WNConv(z.shape[-1], name="latent_conv")(z.astype(state.dtype))
        joint = jnp.concatenate([state, z], axis=-1)
        return WNConv(state.shape[-1], (1, 1), name="combiner")(joint)


class Decoder(nn.Module):
    """Runs the steps that ``NVAE.decoder_steps`` lists."""

    steps: tuple[Any, ...]
    latents: int
    num_outputs: int
    log_std_clamp: float
    num_flows: int = 0
    use_se: bool = True
    remat: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32

    def infer(
        self, kept: dict[int, Array], noise: Latents, train: bool
    ) -> tuple[Latents, Latents, Array]:
        """Latents drawn from the posterior, their log-densities, the output."""
        return self._infer(kept, noise, train, last=None)

    def encode(
        self, kept: dict[int, Array], noise: Latents, train: bool
    ) -> tuple[Latents, Latents]:
        """The latents and log-densities of ``infer``, of the first groups, as many as
        ``noise`` has; what follows them is not run."""
        z, log_q, _ = self._infer(kept, noise, train, last=len(noise) - 1)
        return z, log_q

    def decode(self, z: Latents, train: bool) -> Array:
        """The output for given latents."""
        return self._walk(lambda group, _: z[group], z[0].shape[:3], train, None)

    def _infer(
        self, kept: dict[int, Array], noise: Latents, train: bool, last: int | None
    ) -> tuple[Latents, Latents, Array]:
        drawn: list[tuple[Latent, Latent]] = []

        def draw(group: int, state: Array) -> Array:
            drawn.append(self._draw(group, kept[group], state, noise[group]))
            return drawn[-1][0]

        out = self._walk(draw, kept[0].shape[:3], train, last)
        z, log_q = zip(*drawn, strict=True)
        return z, log_q, out

    def _draw(self, group, kept, state, noise) -> tuple[Latent, Latent]:
        posterior = Posterior(
            self.latents, self.log_std_clamp, self.num_flows, name=f"posterior_{group}"
        )
        return posterior(kept, state if group else None, noise)

    @nn.compact
    def _walk(self, latent_of, shape, train: bool, last: int | None) -> Array:
        """The output, or the map from which the latents of group ``last`` were
        drawn."""
        batch, *size = shape
        first = self.steps[0].features
        start = self.param("start", flat_uniform, (*size, first), 0.0, 1.0)
        start = start.astype(self.dtype)
        state = jnp.broadcast_to(start[None], (batch, *start.shape))
        for step in self.steps:
            if isinstance(step, Cell):
                state = cell_module(step, self)(state, train)
            else:
                z = latent_of(step.index, state)
                if step.index == last:
                    return state
                state = Merge(name=f"merge_{step.index}")(state, z)
        out = WNConv(self.num_outputs, name="head")(nn.elu(state))
        return out.astype(jnp.float32)

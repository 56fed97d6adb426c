"""From noise to latents, counting network calls.

A sampler receives ``residual_fn(u, t) -> r``: what the network adds to the exact
noise predictor of Normal data (``lsgm.sdes.base``, Eq. 4). The full prediction is
``sde.normal_eps(u, t) + r``, of the noised part's shape. Each evaluation of
``residual_fn`` is one network call, and is counted where it is made.

A sampler ends at ``t_end``, where a little noise is left. With ``denoise`` it goes on
to the data,

    drift:  u <- u - t_end (f - g^2 score),                                (1)
    mean:   z_0 <- E[z_0 | u],                                             (2)

one call each. Where the data part of a state receives no noise, its drift has no
score in it: (1) moves the data alone then, without a call.

Source: Song et al., arXiv 2011.13456, appendix G, for (1). That it needs no call for
CLD: own derivation.
"""

import abc
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.sdes.base import SDE
from lsgm.typing import Array, PRNGKey, PyTree, ResidualFn, State, Time

DENOISE = ("none", "drift", "mean")


class Samples(NamedTuple):
    """What a sampler returns.

    Attributes:
      u: state at the end of the reverse process, [b *s]; NaN where a sampler gave up.
      nfe: network calls per sample, int32 scalar; all calls count, also those of
        rejected steps, of choosing the first step, and of a final denoising.
      path: states along the way, from noise to data, [num_path b *s]; None where
        no path was asked for.
    """

    u: Array
    nfe: Array
    path: Array | None = None


def require_finite(values: PyTree, what: str) -> None:
    """Check on the host what samplers computed on devices.

    Args:
      what: named in the message.

    Raises:
      FloatingPointError: a number is not finite.
    """
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(values)):
        raise FloatingPointError(
            f"{what} are not all finite: either the network's output is not, or an "
            "adaptive sampler gave up after its max_steps attempts"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler(abc.ABC):
    """Contract: owns its time grid or tolerances, knows no network.

    Attributes:
      t_end: where the reverse process ends.
      denoise: what follows there: "none", "drift", Eq. (1), or "mean", Eq. (2).
    """

    t_end: float = 1e-5
    denoise: str = "none"

    def __post_init__(self) -> None:
        if not 0 < self.t_end < 1:
            raise ValueError(f"t_end must lie in (0, 1), not {self.t_end}")
        if self.denoise not in DENOISE:
            allowed = ", ".join(DENOISE)
            raise ValueError(f"denoise = {self.denoise!r}: allowed are {allowed}")

    def check(self, sde: SDE) -> None:
        """Raise ValueError if this method is not valid for ``sde``."""
        del sde

    @abc.abstractmethod
    def __call__(
        self,
        key: PRNGKey,
        sde: SDE,
        residual_fn: ResidualFn,
        u1: State,
        *,
        num_path: int = 0,
    ) -> Samples:
        """Run the reverse process from ``u1`` at t = 1 to ``t_end``.

        Args:
          u1: a state as ``sde.prior_sample`` makes it; ``sde.lower`` of the result
            are the samples.
          num_path: how many states to keep along the way, ends included; 0 keeps
            none.
        """

    def finish(self, sde: SDE, residual_fn: ResidualFn, done: Samples) -> Samples:
        """From ``t_end`` to the data, as ``denoise`` says; the end of the path too."""
        if self.denoise == "none":
            return done
        u, nfe = done.u, done.nfe
        t = jnp.full(u.shape[:1], self.t_end, u.dtype)
        if self.denoise == "mean":
            u, nfe = sde.replace_data(u, sde.estimate(u, t, residual_fn(u, t))), nfe + 1
        elif sde.noises_data:
            drift = reverse_drift(sde, u, t, residual_fn(u, t))
            u, nfe = u - self.t_end * drift, nfe + 1
        else:
            drift = sde.lower(sde.drift(u, t))
            u = sde.replace_data(u, sde.lower(u) - self.t_end * drift)
        path = None if done.path is None else done.path.at[-1].set(u)
        return Samples(u, nfe, path)


def reverse_drift(sde: SDE, u: State, t: Time, residual: Array) -> State:
    """f - g^2 score: twice the velocity of the probability flow, minus f."""
    return 2 * sde.probability_flow(u, t, residual) - sde.drift(u, t)

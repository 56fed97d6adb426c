r"""The mixed score and its squared error.

    eps_theta = normal_eps + r,   r = a (eps' - normal_eps),               (1)

with eps' the network's output, normal_eps the exact prediction for Normal data, both
of the noised part's shape, and a = sigmoid(mixing_logit) in (0, 1), one per latent
channel: the geometric mixture
p(u_t) ~ N(0, I)^(1-a) p'(u_t)^a. Only r is ever formed, so nothing cancels where
latents are nearly Normal. Without mixing, a = 1.

CLD's published mixed score adds a base to the network instead, without logits:

    eps_theta = base_eps + eps'.                                           (2)

Kernels average over the components of u_0 beyond the data ("hybrid score matching").
Plain denoising score matching draws them. Given z_0 and u_t, its target is Normal
around the other, so it is the same regression with noise added to the target,

    noised(eps) + target_spread n.                                         (3)

Sources: LSGM, arXiv 2106.05931, section 3.2 (mixed score), Eq. 8 (objective); CLD,
arXiv 2112.07068, section 3.2 (2), and its appendix on objectives; (3): own derivation.
"""

import jax

from lsgm.numerics import expand_to
from lsgm.sdes.base import SDE
from lsgm.typing import Array, Float, Noise, State, Time


def mixed_residual(
    sde: SDE,
    eps_prime: Float[Array, "b h w c"],
    u: Float[Array, "b h w s"],
    t: Time,
    mixing_logit: Float[Array, " c"] | None,
) -> Float[Array, "b h w c"]:
    """r of Eq. (1); no logit means no mixing."""
    residual = eps_prime - sde.normal_eps(u, t)
    if mixing_logit is None:
        return residual
    return jax.nn.sigmoid(mixing_logit)[None, None, None] * residual


def added_residual(
    sde: SDE, eps_prime: Float[Array, "b h w c"], u: Float[Array, "b h w s"], t: Time
) -> Float[Array, "b h w c"]:
    """r of Eq. (2)."""
    return sde.base_eps(u, t) - sde.normal_eps(u, t) + eps_prime


def denoising_noise(sde: SDE, eps: State, noise: Noise, t: Time) -> State:
    """eps with Eq. (3) as its noised part."""
    return eps + sde.embed(expand_to(sde.target_spread(t), noise) * noise)


def squared_error(sde: SDE, eps: State, residual: Noise, u: State, t: Time) -> Noise:
    """(noised(eps) - eps_theta)^2 per variable of the noised part."""
    return (sde.noised(eps) - sde.normal_eps(u, t) - residual) ** 2

r"""Log-likelihood of latents by the probability-flow ODE.

Along du/ds = v(u, t), in time or another coordinate s that grows with it, the
log-density changes by -div v, so from t_end to 1

    log p(u_0) = log p_1(u_1) + int div v(u, t) ds.                        (1)

The divergence is a sum over probes p_k on the noised part, which are drawn once and
kept for the whole solve,

    div v = sum_k p_k . (dv/du) p_k,                                       (2)

unbiased for k random probes of mean 0 and covariance I / k (Hutchinson), exact for
the unit vectors. One forward-mode product per probe; the network runs once. Probes
that change from call to call would make the right-hand side noise, against which
step control is helpless. Components that receive no noise don't enter their own
velocity (``lsgm.sdes.base``), so Eq. (2) leaves none of the divergence out.

The latent is taken for the state at ``t_end``, as in the literature: the result is
log p_{t_end}(z0), and tends to log p(z0) with it.

It is exact for scalar processes, whose state is the latent. An augmented process has
components w beyond it. ``sde.lift`` draws them from a density q, and

    log p(z_0) >= E_q [log p(z_0, w) - log q(w)].                          (3)

The literature adds the entropy of q in the place of -log q(w). The mean is the same;
the difference in (3) has less noise, and none where p(w | z_0) = q(w).

Sources: Chen et al., arXiv 1806.07366 (1); Grathwohl et al., arXiv 1810.01367 (2);
Song et al., arXiv 2011.13456, section 4.3; CLD, arXiv 2112.07068, appendix on
likelihoods, for (3) with the entropy.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lsgm.numerics import sum_per_example
from lsgm.samplers.flow_solver import FlowSolver
from lsgm.sdes.base import SDE
from lsgm.typing import (
    Array,
    Clean,
    Float,
    Noise,
    PerExample,
    PRNGKey,
    ResidualFn,
    State,
    Time,
)

Probes = Float[Array, "b k *n"]


class LogLikelihood(NamedTuple):
    """What ``log_likelihood`` returns.

    Attributes:
      log_prob: nats, [b]; one draw of a lower bound for augmented processes.
      u1: the noise that the latents come from, [b *s].
      nfe: network calls, int32 scalar.
    """

    log_prob: Array
    u1: Array
    nfe: Array


def rademacher(key: PRNGKey, shape: tuple[int, ...], num_probes: int = 1) -> Probes:
    """Random signs for Eq. (2), the probes of least variance.

    Args:
      shape: the noised part's, batch first.
    """
    signs = jax.random.rademacher(key, _probes(shape, num_probes), jnp.float32)
    return signs / num_probes**0.5


def gaussian(key: PRNGKey, shape: tuple[int, ...], num_probes: int = 1) -> Probes:
    """Normal probes for Eq. (2), as in LSGM's evaluation."""
    return jax.random.normal(key, _probes(shape, num_probes)) / num_probes**0.5


def unit_vectors(shape: tuple[int, ...]) -> Probes:
    """Probes that make Eq. (2) exact, one per dimension of the noised part."""
    dims = math.prod(shape[1:])
    vectors = jnp.eye(dims).reshape(1, dims, *shape[1:])
    return jnp.broadcast_to(vectors, (shape[0], dims, *shape[1:]))


def log_likelihood(
    flow: FlowSolver,
    sde: SDE,
    residual_fn: ResidualFn,
    z0: Clean,
    probes: Probes,
    eps: Noise | None = None,
) -> LogLikelihood:
    """Eq. (1) or (3) for each example, solved as ``flow`` says.

    The accumulated divergence takes part in the step control.

    Args:
      probes: on the noised part.
      eps: standard normal noise of the noised part's shape for ``sde.lift``.

    Raises:
      ValueError: the process is augmented, and ``eps`` is None; or ``flow`` is not
        valid for it.
    """
    field = flow.field(sde, residual_fn)

    def joint(y: tuple, t: Time, probes: Probes) -> tuple[State, PerExample]:
        def product(probe: Noise) -> tuple[State, Noise]:
            tangents = (sde.embed(probe),)
            v, change = jax.jvp(lambda u: field(u, t), (y[0],), tangents)
            return v, sde.noised(change)

        v, products = jax.vmap(product, in_axes=1, out_axes=(None, 1))(probes)
        return v, sum_per_example(probes * products)

    lifted = sde.lift(z0, jnp.full(z0.shape[:1], flow.t_end, z0.dtype), eps)
    start = (lifted.u, jnp.zeros(z0.shape[:1], z0.dtype))
    solution = flow.integrate(sde, joint, start, probes)
    u1, change = solution.y
    log_prob = sde.prior_log_prob(u1) + change - lifted.log_prob
    return LogLikelihood(log_prob, u1, solution.nfe)


def _probes(shape: tuple[int, ...], num_probes: int) -> tuple[int, ...]:
    return (shape[0], num_probes, *shape[1:])

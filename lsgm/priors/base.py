"""A prior joins process, network, objective and sampler into p(z0).

A prior is a frozen dataclass without arrays. What it learns travels as
``params[group]``, what else it carries (power-iteration vectors, the mask of
active channels) as ``mutables[group]``. Draws are arguments: ``draw`` makes them,
``terms`` is a pure function of them.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from lsgm.samplers.flow_solver import FlowSolver
from lsgm.samplers.likelihood import LogLikelihood, Probes
from lsgm.sdes.base import SDE
from lsgm.typing import Array, Float, Latent, Params, PRNGKey, PRNGKeys


class PriorTerms(NamedTuple):
    """What a prior says of a batch of latents.

    Attributes:
      losses: one [b] per group that the prior owns, in nats where it is a bound.
      cross_entropy: -log p(z0) per variable in nats, [b h w c]: its sum over
        variables bounds the cross-entropy, differentiable in z0; None where the
        prior has no bound.
      metrics: scalars to log.
      kernels, scales: effective convolution kernels and normalisation scales by
        group, for regularisation.
    """

    losses: dict[str, Array]
    cross_entropy: Array | None
    metrics: dict[str, Array]
    kernels: dict[str, Any]
    scales: dict[str, Any]


class LatentSamples(NamedTuple):
    """Latents drawn from a prior.

    Attributes:
      z0: [b h w c].
      nfe: network calls per sample, int32 scalar.
      path: latents along the way from noise, [num_path b h w c] or None.
    """

    z0: Array
    nfe: Array
    path: Array | None = None


@runtime_checkable
class Prior(Protocol):
    """Contract of p(z0). Callers ask it by these names, never by its class.

    Attributes:
      groups: parameter groups that it owns; empty where it has no parameters.
      phases: which of them are updated together, in order, within one step.
      averaged: groups whose parameters are averaged in training, for evaluation.
      has_bound: whether it bounds the cross-entropy, so that it may train an encoder
        and report a bound.
      diffusion: the process that it reverses, whose residual a method
        ``residual_fn(params, mutables, cond)`` then gives; None where there is none.
      shares_objective: whether its loss is the encoder's cross-entropy on the
        same draw (likelihood weighting, one time for both).
    """

    groups: tuple[str, ...]
    phases: tuple[tuple[str, ...], ...]
    averaged: tuple[str, ...]
    has_bound: bool
    diffusion: SDE | None
    shares_objective: bool

    def published(self) -> "Prior":
        """Itself with the published estimators, where they are others."""
        ...

    def init(
        self, key: PRNGKey, z_shape: tuple[int, int, int]
    ) -> tuple[Params, Params]:
        """Parameters and mutables by group, for latents [h w c]."""
        ...

    def draw(
        self,
        key: PRNGKey,
        keys: PRNGKeys,
        indices: Array,
        batch_size: int,
        z_shape: tuple[int, int, int],
    ) -> Any:
        """All random numbers that ``terms`` needs.

        Args:
          key: shared by the whole global batch.
          keys: one per example on this device.
          indices: these examples' places in the global batch, int32 [b].
          batch_size: size of the global batch.
        """
        ...

    def terms(
        self,
        params: Params,
        mutables: Params,
        draws: Any,
        z0: Latent,
        *,
        step: Array,
        train: bool,
        dropout_key: PRNGKey | None = None,
        cond: Array | None = None,
    ) -> PriorTerms:
        """Losses of the prior's groups and the cross-entropy of ``z0``.

        Args:
          step: of the training, int32.
          cond: labels, int32 [b]; a prior without conditions ignores them.
        """
        ...

    def log_prob(
        self,
        params: Params,
        mutables: Params,
        z0: Latent,
        *,
        flow: FlowSolver,
        probes: Probes,
        cond: Array | None = None,
        eps: Latent | None = None,
    ) -> LogLikelihood:
        """log p(z0) [b] in nats; only of a prior that has a bound.

        Args:
          flow: how to solve an ODE, where that is the way; to its ``t_end``.
          probes: for the trace of that ODE (``lsgm.samplers.likelihood``), of the
            latents' shape.
          cond: as in ``terms``.
          eps: standard normal noise of the latents' shape, for the components that
            an augmented process has beyond them; others ignore it.
        """
        ...

    def sample(
        self,
        params: Params,
        mutables: Params,
        key: PRNGKey,
        shape: tuple[int, int, int, int],
        *,
        temperature: float = 1.0,
        num_path: int = 0,
        cond: Array | None = None,
    ) -> LatentSamples:
        """Latents of ``shape`` [b h w c] and the network calls that each took.

        Args:
          cond: as in ``terms``.
        """
        ...


@runtime_checkable
class DropsChannels(Protocol):
    """A prior that can leave channels to N(0, I)."""

    def drop_channels(
        self, params: Params, mutables: Params, active: Float[Array, " c"]
    ) -> tuple[Params, Params]:
        """Parameters and mutables with all but the ``active`` channels (1, others 0)
        left to N(0, I)."""
        ...

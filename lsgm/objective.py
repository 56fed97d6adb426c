r"""One loss per parameter group, from the terms of ``lsgm.elbo``.

With its KL_l per latent group l, Eq. (2) there,

    J_vae   = mean(reconstruction + c sum_l gamma_l KL_l) + R_vae,         (1)
    J_prior = mean(the prior's own loss of that group) + R_prior,          (2)

with the annealing coefficient c, the balancing weights gamma (both from
``lsgm.objectives.kl_balance``) and R of ``lsgm.networks.spectral``. Each group descends
its own loss only; what else a loss depends on does not matter.

Source: LSGM, arXiv 2106.05931, Algorithms 1 to 3.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lsgm import elbo
from lsgm.elbo import Bound, ObjectiveDraws
from lsgm.interpreter import evaluate
from lsgm.model import LatentModel
from lsgm.networks import spectral
from lsgm.objectives.kl_balance import KLSchedule, balance, group_weights
from lsgm.priors.base import PriorTerms
from lsgm.typing import Array, Image, Params, PRNGKey


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regularization:
    """R = spectral * sum of spectral norms + norm * sum of max |scale|.

    The two coefficients of one parameter group; LSGM uses one value for both.
    """

    spectral: float = 0.0
    norm: float = 0.0

    def __post_init__(self) -> None:
        for name in ("spectral", "norm"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)}: must be >= 0")


class Aux(NamedTuple):
    """What an evaluation of the objective yields beside its losses."""

    metrics: dict[str, Array]
    mutables: Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """Losses of all groups for one batch, Eqs. (1) and (2).

    Attributes:
      groups: parameter groups under training; others are frozen, and a frozen
        VAE runs in evaluation mode and decodes nothing.
      phases: which groups are updated together, in order, within one step.
      regularization: coefficients by group.
      disjoint: the prior is evaluated for the encoder and for itself separately.
      encoder_ema: for the encoder, with its averaged parameters.
      reference_compatible: a prior that shares the encoder's objective in joint
        training descends J_vae, so that its gradient carries the annealing
        coefficient, and a frozen VAE runs in training mode and decodes, as
        published.
    """

    model: LatentModel
    groups: tuple[str, ...]
    kl: KLSchedule
    balance_kl: bool
    regularization: dict[str, Regularization]
    disjoint: bool = False
    encoder_ema: bool = False
    reference_compatible: bool = False

    @property
    def phases(self) -> tuple[tuple[str, ...], ...]:
        """Which groups are updated together, in order, within one step: the prior's
        phases, of its trained groups; a trained VAE shares the last."""
        own = [set(phase) & set(self.groups) for phase in self.model.prior.phases]
        phases = [phase for phase in own if phase]
        if "vae" in self.groups:
            phases = [*phases[:-1], {"vae"}.union(*phases[-1:])]
        return tuple(tuple(g for g in self.groups if g in phase) for phase in phases)

    def draw(self, key: PRNGKey, num: int, axis: str | None = None) -> ObjectiveDraws:
        """All random numbers that one call needs for ``num`` examples."""
        return elbo.draw(self.model, key, num, axis, disjoint=self.disjoint)

    def init(self, key: PRNGKey) -> tuple[Params, Params]:
        """Parameters and mutables of every group, power-iteration vectors too."""
        init_key, draw_key, spectral_key = jax.random.split(key, 3)
        params, mutables = self.model.init(init_key)
        if not any(r.spectral for r in self.regularization.values()):
            return params, mutables
        x = jnp.zeros((1, *self.model.vae.data_shape))
        draws = self.draw(draw_key, 1)

        def kernels_of(params: Params) -> Params:
            step = jnp.zeros((), jnp.int32)
            return self._terms(params, mutables, x, draws, step, axis=None).kernels

        kernels_by_group = evaluate(kernels_of, params)
        for i, (group, kernels) in enumerate(sorted(kernels_by_group.items())):
            if group in self.groups and self._coefficients(group).spectral:
                vectors = spectral.init_vectors(
                    jax.random.fold_in(spectral_key, i), kernels
                )
                mutables[group] = {**mutables[group], "spectral": vectors}
        return params, mutables

    def __call__(
        self,
        params: Params,
        mutables: Params,
        x: Image,
        draws: ObjectiveDraws,
        step: Array,
        axis: str | None = None,
        averaged: Params | None = None,
        cond: Array | None = None,
    ) -> tuple[dict[str, Array], Aux]:
        """Scalar loss per trained group in nats per image (this device's mean), and
        what to log and to carry on.

        Args:
          averaged: what ``encoder_ema`` evaluates the prior with.
          cond: labels that the prior is conditioned on, int32 [b].
        """
        encoder_params = averaged if self.encoder_ema else None
        terms = self._terms(
            params, mutables, x, draws, step, axis, encoder_params, cond
        )
        coeff, bound = self.kl(step), terms.bound
        losses = {g: jnp.mean(v) for g, v in terms.prior.losses.items()}
        metrics, mutables = {"kl_coeff": coeff, **terms.prior.metrics}, dict(mutables)
        if bound is not None:
            metrics |= _means(bound)
            stats = bound.inferred.batch_stats
            mutables["vae"] = {**mutables["vae"], "batch_stats": stats}
        if "vae" in self.groups:
            losses["vae"] = self._vae_loss(bound, coeff, axis)
            if self.reference_compatible and self._one_objective:
                losses |= {g: losses["vae"] for g in self.model.prior.groups}
        metrics |= {f"loss_{g}": losses[g] for g in self.groups}
        for group in self.groups:
            penalty, mutables[group] = self._penalty(group, terms, mutables[group])
            losses[group] = losses[group] + penalty
            metrics[f"regularization_{group}"] = penalty
        return {g: losses[g] for g in self.groups}, Aux(metrics, mutables)

    @property
    def _one_objective(self) -> bool:
        """Whether prior and trained encoder descend the same term."""
        return not self.disjoint and self.model.prior.shares_objective

    def _terms(
        self, params, mutables, x, draws, step, axis, encoder_params=None, cond=None
    ) -> "_Terms":
        held = self.model, params, mutables, x, draws
        if "vae" not in self.groups and not self.reference_compatible:
            return _Terms(None, elbo.prior_alone(*held, step=step, cond=cond))
        bound = elbo.bound(
            *held,
            step=step,
            train_vae=True,
            train_prior=any(g in self.groups for g in self.model.prior.groups),
            encoder_params=encoder_params,
            axis=axis,
            cond=cond,
        )
        return _Terms(bound, bound.prior_terms)

    def _vae_loss(self, bound: Bound | None, coeff: Array, axis: str | None) -> Array:
        """J of Eq. (1), without its penalty."""
        assert bound is not None and bound.kl is not None, "a stage refuses this"
        balanced = self._gammas(bound.kl, coeff, axis)[:, None] * bound.kl
        return jnp.mean(bound.reconstruction + coeff * jnp.sum(balanced, 0))

    def _gammas(self, kl: Array, coeff: Array, axis: str | None) -> Array:
        if not self.balance_kl:
            return jnp.ones(kl.shape[0])
        weights = group_weights(tuple(map(len, self.model.vae.latent_shapes)))
        return balance(kl, coeff, weights, axis=axis)

    def _coefficients(self, group: str) -> Regularization:
        return self.regularization.get(group, Regularization())

    def _penalty(
        self, group: str, terms: "_Terms", mutables: Params
    ) -> tuple[Array, Params]:
        coefficients = self._coefficients(group)
        penalty = jnp.zeros(())
        if coefficients.spectral:
            norms, vectors = spectral.spectral_norm(
                terms.kernels[group], mutables["spectral"]
            )
            penalty += coefficients.spectral * norms
            mutables = {**mutables, "spectral": vectors}
        if coefficients.norm:
            penalty += coefficients.norm * spectral.scale_penalty(terms.scales[group])
        return penalty, mutables


class _Terms(NamedTuple):
    """What losses are made of: the bound where it was computed, and the prior's."""

    bound: Bound | None
    prior: PriorTerms

    @property
    def kernels(self) -> dict[str, Any]:
        """Of every group whose layers ran and made them known."""
        own = {} if self.bound is None else {"vae": self.bound.inferred.kernels}
        return own | self.prior.kernels

    @property
    def scales(self) -> dict[str, Any]:
        """As ``kernels``."""
        own = {} if self.bound is None else {"vae": self.bound.inferred.scales}
        return own | self.prior.scales


def _means(bound: Bound) -> dict[str, Array]:
    """Means of the terms; without a bound, the reconstruction alone says something."""
    names = ("reconstruction", "neg_entropy", "cross_entropy", "nelbo")
    found = {
        n: getattr(bound, n) for n in (names if bound.kl is not None else names[:1])
    }
    return {name: jnp.mean(value) for name, value in found.items()}

r"""The variational bound, and one loss per parameter group.

    L(x) = E_q[-log p(x|z)] + E_q[log q(z|x)] + E_q[-log p(z)]             (1)
           reconstruction     neg_entropy       cross_entropy

in nats per image, from one latent sample per image; the entropy is estimated
from that sample, never analytically. Groups of the prior's scales have the prior
under training, all others N(0, I). Per latent group l

    KL_l = sum(log q(z_l|.) - log p(z_l)),                                 (2)
    J_vae   = mean(reconstruction + c sum_l gamma_l KL_l) + R_vae,         (3)
    J_prior = mean(weighted squared error) + R_prior,                      (4)

with the annealing coefficient c, the balancing weights gamma (both from
``lsgm.objectives.kl_balance``) and R of ``lsgm.networks.spectral``. Each group descends
its own loss only; what else a loss depends on does not matter.

In *disjoint* training the prior is evaluated twice, with independent draws: once for
the cross-entropy of (3), once for (4). The first may use averaged parameters of the
prior, which give the encoder a smoother gradient. Both see the latents of one pass
through the VAE.

Source: LSGM, arXiv 2106.05931, Eq. 1 and Algorithms 1 to 3.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lsgm import numerics
from lsgm.model import LatentModel
from lsgm.networks import spectral
from lsgm.networks.initialize import evaluate
from lsgm.objectives.kl_balance import KLSchedule, balance, group_weights
from lsgm.priors import normal
from lsgm.priors.base import Prior, PriorTerms
from lsgm.typing import Array, Image, Latent, Params, PRNGKey
from lsgm.vae import Inferred


class Draws(NamedTuple):
    """All random numbers of one evaluation of the bound.

    Attributes:
      noise: of the VAE's latents, by group.
      prior: what ``Prior.draw`` returns.
      dropout: one key.
      encoder: of ``prior``'s kind, for the cross-entropy alone; None where one
        evaluation of the prior serves its own loss and the cross-entropy.
    """

    noise: tuple[Any, ...]
    prior: Any
    dropout: Any
    encoder: Any = None


class Bound(NamedTuple):
    """The terms of Eq. (1), each [b] in nats.

    Attributes:
      reconstruction, neg_entropy, cross_entropy: as in Eq. (1); the last holds
        the N(0, I) of other scales too.
      kl: Eq. (2), [groups b].
      inferred, prior_terms: what they were made from.
    """

    reconstruction: Array
    neg_entropy: Array
    cross_entropy: Array
    kl: Array
    inferred: Inferred
    prior_terms: PriorTerms

    @property
    def nelbo(self) -> Array:
        """Eq. (1): negative evidence lower bound, [b] in nats."""
        return self.reconstruction + self.neg_entropy + self.cross_entropy


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


def draw(
    model: LatentModel,
    key: PRNGKey,
    num: int,
    axis: str | None = None,
    *,
    disjoint: bool = False,
) -> Draws:
    """Random numbers for ``num`` examples on this device of the mapped ``axis``.

    Args:
      disjoint: draw for two evaluations of the prior.
    """
    evaluations = 2 if disjoint else 1
    *shared, dropout, examples = jax.random.split(key, evaluations + 2)
    indices = numerics.example_indices(num, axis)
    noise_keys, *prior_keys = numerics.split_examples(
        numerics.example_keys(examples, indices), evaluations + 1
    )
    if axis is not None:
        dropout = jax.random.fold_in(dropout, jax.lax.axis_index(axis))
    size = num * (1 if axis is None else jax.lax.axis_size(axis))
    for_prior, *for_encoder = (
        model.prior.draw(key, keys, indices, size, model.vae.prior_shape)
        for key, keys in zip(shared, prior_keys, strict=True)
    )
    return Draws(
        noise=model.vae.draw(noise_keys),
        prior=for_prior,
        dropout=dropout,
        encoder=for_encoder[0] if disjoint else None,
    )


def bound(
    model: LatentModel,
    params: Params,
    mutables: Params,
    x: Image,
    draws: Draws,
    *,
    train_vae: bool = False,
    train_prior: bool = False,
    encoder_params: Params | None = None,
    axis: str | None = None,
) -> Bound:
    """The bound on -log p(x), term by term, Eqs. (1) and (2).

    Args:
      x: images in [-1, 1].
      train_vae, train_prior: whether that part runs in training mode (batch
        statistics, dropout).
      encoder_params: the prior's parameters in the cross-entropy, if not
        ``params``; they need ``draws.encoder``.
    """
    vae, prior = model.vae, model.prior
    inferred = vae.infer(
        params["vae"], mutables["vae"], x, draws.noise, train=train_vae, axis=axis
    )
    likelihood = vae.likelihood_of(inferred.out)
    reconstruction = -numerics.sum_per_example(likelihood.log_prob(x))
    terms = _prior_terms(
        prior,
        (params, encoder_params or params),
        mutables,
        draws,
        vae.join(inferred.z),
        train_prior,
    )
    neg_log_p = neg_log_prior(model, inferred, terms)
    total = numerics.sum_per_example
    neg_entropy = jnp.stack([total(log_q) for log_q in inferred.log_q])
    cross_entropy = jnp.stack([total(nlp) for nlp in neg_log_p])
    return Bound(
        reconstruction=reconstruction,
        neg_entropy=neg_entropy.sum(0),
        cross_entropy=cross_entropy.sum(0),
        kl=neg_entropy + cross_entropy,
        inferred=inferred,
        prior_terms=terms,
    )


def _prior_terms(
    prior: Prior,
    params: tuple[Params, Params],
    mutables: Params,
    draws: Draws,
    z0: Latent,
    train: bool,
) -> PriorTerms:
    """The prior's terms; of a second evaluation, if there are draws for one, the
    cross-entropy. What either leaves unused, the compiler drops.

    Args:
      params: for the prior's own loss, and for the cross-entropy.
    """

    def terms(params: Params, draws: Any, dropout_key: PRNGKey | None) -> PriorTerms:
        return prior.terms(
            params, mutables, draws, z0, train=train, dropout_key=dropout_key
        )

    if draws.encoder is None:
        return terms(params[0], draws.prior, draws.dropout)
    keys = jax.random.split(draws.dropout) if train else (None, None)
    own = terms(params[0], draws.prior, keys[0])
    for_encoder = terms(params[1], draws.encoder, keys[1])
    return own._replace(cross_entropy=for_encoder.cross_entropy)


def neg_log_prior(
    model: LatentModel, inferred: Inferred, terms: PriorTerms
) -> tuple[Array, ...]:
    """-log p per variable and group, in nats: the prior's on its scales, N(0, I) on
    others. A prior without a bound counts as nothing."""
    vae, own = model.vae, terms.cross_entropy
    if own is None:
        own = jnp.zeros_like(vae.join(inferred.z))
    rest = tuple(normal.neg_log_prob(z) for z in vae.rest(inferred.z))
    return vae.merge(own, rest)


class Aux(NamedTuple):
    """What an evaluation of the objective yields beside its losses."""

    metrics: dict[str, Array]
    mutables: Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """Losses of all groups for one batch, Eqs. (3) and (4).

    Attributes:
      groups: parameter groups under training; others are frozen, and a frozen
        VAE runs in evaluation mode.
      phases: which groups are updated together, in order, within one step.
      regularization: coefficients by group.
      disjoint: the prior is evaluated for the encoder and for itself separately.
      encoder_ema: for the encoder, with its averaged parameters.
      reference_compatible: a prior that shares the encoder's objective in joint
        training descends J_vae, so that its gradient carries the annealing
        coefficient, and a frozen VAE runs in training mode, as published.
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
        return (self.groups,)

    def draw(self, key: PRNGKey, num: int, axis: str | None = None) -> Draws:
        """All random numbers that one call needs for ``num`` examples."""
        return draw(self.model, key, num, axis, disjoint=self.disjoint)

    def init(self, key: PRNGKey) -> tuple[Params, Params]:
        """Parameters and mutables of every group, power-iteration vectors too."""
        init_key, draw_key, spectral_key = jax.random.split(key, 3)
        params, mutables = self.model.init(init_key)
        if not any(r.spectral for r in self.regularization.values()):
            return params, mutables
        x = jnp.zeros((1, *self.model.vae.data_shape))
        draws = self.draw(draw_key, 1)

        def kernels_of(params: Params) -> Params:
            return _kernels(self._bound(params, mutables, x, draws, axis=None))

        kernels_by_group = evaluate(kernels_of, params)
        for i, (group, kernels) in enumerate(kernels_by_group.items()):
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
        draws: Draws,
        step: Array,
        axis: str | None = None,
        averaged: Params | None = None,
    ) -> tuple[dict[str, Array], Aux]:
        """Scalar loss per group in nats per image (this device's mean), and what
        to log and to carry on.

        Args:
          averaged: what ``encoder_ema`` evaluates the prior with.
        """
        encoder_params = averaged if self.encoder_ema else None
        terms = self._bound(params, mutables, x, draws, axis, encoder_params)
        coeff = self.kl(step)
        balanced = jnp.sum(self._gammas(terms.kl, coeff, axis)[:, None] * terms.kl, 0)
        vae_loss = jnp.mean(terms.reconstruction + coeff * balanced)
        losses = {g: jnp.mean(v) for g, v in terms.prior_terms.losses.items()}
        if self.reference_compatible and self._one_objective:
            losses["prior"] = vae_loss
        losses["vae"] = vae_loss
        metrics = self._metrics(terms, coeff) | terms.prior_terms.metrics
        metrics |= {f"loss_{g}": losses[g] for g in self.groups}
        mutables = self._carry(mutables, terms)
        for group in self.groups:
            penalty, mutables[group] = self._penalty(group, terms, mutables[group])
            losses[group] = losses[group] + penalty
            metrics[f"regularization_{group}"] = penalty
        return {g: losses[g] for g in self.groups}, Aux(metrics, mutables)

    @property
    def _one_objective(self) -> bool:
        """Whether prior and trained encoder descend the same term."""
        joint = "vae" in self.groups and not self.disjoint
        return joint and self.model.prior.shares_objective

    def _bound(self, params, mutables, x, draws, axis, encoder_params=None) -> Bound:
        return bound(
            self.model,
            params,
            mutables,
            x,
            draws,
            train_vae="vae" in self.groups or self.reference_compatible,
            train_prior=any(g in self.groups for g in self.model.prior.groups),
            encoder_params=encoder_params,
            axis=axis,
        )

    def _gammas(self, kl: Array, coeff: Array, axis: str | None) -> Array:
        if not self.balance_kl:
            return jnp.ones(kl.shape[0])
        weights = group_weights(tuple(map(len, self.model.vae.latent_shapes)))
        return balance(kl, coeff, weights, axis=axis)

    def _coefficients(self, group: str) -> Regularization:
        return self.regularization.get(group, Regularization())

    def _penalty(
        self, group: str, terms: Bound, mutables: Params
    ) -> tuple[Array, Params]:
        coefficients = self._coefficients(group)
        penalty = jnp.zeros(())
        if coefficients.spectral:
            norms, vectors = spectral.spectral_norm(
                _kernels(terms)[group], mutables["spectral"]
            )
            penalty += coefficients.spectral * norms
            mutables = {**mutables, "spectral": vectors}
        if coefficients.norm:
            penalty += coefficients.norm * spectral.scale_penalty(_scales(terms)[group])
        return penalty, mutables

    def _carry(self, mutables: Params, terms: Bound) -> Params:
        stats = terms.inferred.batch_stats
        return {**mutables, "vae": {**mutables["vae"], "batch_stats": stats}}

    def _metrics(self, terms: Bound, coeff: Array) -> dict[str, Array]:
        metrics = {
            "reconstruction": terms.reconstruction,
            "neg_entropy": terms.neg_entropy,
        }
        if self.model.prior.has_bound:
            metrics["cross_entropy"] = terms.cross_entropy
            metrics["nelbo"] = terms.nelbo
        means = {name: jnp.mean(value) for name, value in metrics.items()}
        return {**means, "kl_coeff": coeff}


def _kernels(terms: Bound) -> dict[str, Any]:
    return {"vae": terms.inferred.kernels, **terms.prior_terms.kernels}


def _scales(terms: Bound) -> dict[str, Any]:
    return {"vae": terms.inferred.scales, **terms.prior_terms.scales}

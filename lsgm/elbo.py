r"""The variational bound on -log p(x), term by term.

    L(x) = E_q[-log p(x|z)] + E_q[log q(z|x)] + E_q[-log p(z)]             (1)
           reconstruction     neg_entropy       cross_entropy

in nats per image, from one latent sample per image; the entropy is estimated
from that sample, never analytically. Groups of the prior's scales have the prior
under training, all others N(0, I). Per latent group l

    KL_l = sum(log q(z_l|.) - log p(z_l)).                                 (2)

A prior without a bound has no cross-entropy, so that (1) and (2) do not exist; the
reconstruction does.

In *disjoint* training the prior is evaluated twice, with independent draws: once for
the cross-entropy, once for its own loss. The first may use averaged parameters of the
prior, which give the encoder a smoother gradient. Both see the latents of one pass
through the VAE.

Source: LSGM, arXiv 2106.05931, Eq. 1 and Algorithms 1 to 3.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lsgm import numerics
from lsgm.model import LatentModel
from lsgm.priors import normal
from lsgm.priors.base import Prior, PriorTerms
from lsgm.typing import Array, Image, Latent, Latents, Params, PRNGKey
from lsgm.vae import Inferred


class ObjectiveDraws(NamedTuple):
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
        the N(0, I) of other scales too, and is None where the prior has no bound.
      kl: Eq. (2), [groups b]; None where the prior has no bound.
      inferred, prior_terms: what they were made from.
    """

    reconstruction: Array
    neg_entropy: Array
    cross_entropy: Array | None
    kl: Array | None
    inferred: Inferred
    prior_terms: PriorTerms

    @property
    def nelbo(self) -> Array | None:
        """Eq. (1): negative evidence lower bound, [b] in nats; None where the prior
        has no bound."""
        if self.cross_entropy is None:
            return None
        return self.reconstruction + self.neg_entropy + self.cross_entropy


def draw(
    model: LatentModel,
    key: PRNGKey,
    num: int,
    axis: str | None = None,
    *,
    disjoint: bool = False,
) -> ObjectiveDraws:
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
    return ObjectiveDraws(
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
    draws: ObjectiveDraws,
    *,
    step: Array | None = None,
    train_vae: bool = False,
    train_prior: bool = False,
    encoder_params: Params | None = None,
    axis: str | None = None,
    cond: Array | None = None,
) -> Bound:
    """The bound on -log p(x), term by term, Eqs. (1) and (2).

    Args:
      x: images in [-1, 1].
      step: of the training, int32; None outside of one, which the prior sees as 0.
      train_vae, train_prior: whether that part runs in training mode (batch
        statistics, dropout).
      encoder_params: the prior's parameters in the cross-entropy, if not
        ``params``; they need ``draws.encoder``.
      cond: labels that the prior is conditioned on, int32 [b].
    """
    vae, total = model.vae, numerics.sum_per_example
    inferred = vae.infer(
        params["vae"], mutables["vae"], x, draws.noise, train=train_vae, axis=axis
    )
    likelihood = vae.likelihood_of(inferred.out)
    terms = _prior_terms(
        model.prior,
        (params, encoder_params or params),
        mutables,
        draws,
        vae.join(inferred.z),
        jnp.zeros((), jnp.int32) if step is None else step,
        train_prior,
        cond,
    )
    neg_entropy = jnp.stack([total(log_q) for log_q in inferred.log_q])
    cross_entropy = kl = None
    if terms.cross_entropy is not None:
        neg_log_p = neg_log_prior(model, inferred.z, terms.cross_entropy)
        by_group = jnp.stack([total(nlp) for nlp in neg_log_p])
        cross_entropy, kl = by_group.sum(0), neg_entropy + by_group
    return Bound(
        reconstruction=-total(likelihood.log_prob(x)),
        neg_entropy=neg_entropy.sum(0),
        cross_entropy=cross_entropy,
        kl=kl,
        inferred=inferred,
        prior_terms=terms,
    )


def prior_alone(
    model: LatentModel,
    params: Params,
    mutables: Params,
    x: Image,
    draws: ObjectiveDraws,
    *,
    step: Array,
    cond: Array | None = None,
) -> PriorTerms:
    """The prior's terms in ``bound``, in training on a frozen VAE. Nothing that stands
    behind the last of the prior's latents is computed, neither finer latents nor the
    image."""
    own = params["vae"], mutables["vae"]
    z0 = model.vae.encode(*own, x, draws.noise).z0
    return _prior_terms(
        model.prior, (params, params), mutables, draws, z0, step, True, cond
    )


def _prior_terms(
    prior: Prior,
    params: tuple[Params, Params],
    mutables: Params,
    draws: ObjectiveDraws,
    z0: Latent,
    step: Array,
    train: bool,
    cond: Array | None,
) -> PriorTerms:
    """The prior's terms; of a second evaluation, if there are draws for one, the
    cross-entropy. What either leaves unused, the compiler drops.

    Args:
      params: for the prior's own loss, and for the cross-entropy.
    """

    def terms(params: Params, draws: Any, dropout_key: PRNGKey | None) -> PriorTerms:
        return prior.terms(
            params,
            mutables,
            draws,
            z0,
            step=step,
            train=train,
            dropout_key=dropout_key,
            cond=cond,
        )

    if draws.encoder is None:
        return terms(params[0], draws.prior, draws.dropout)
    keys = jax.random.split(draws.dropout) if train else (None, None)
    own = terms(params[0], draws.prior, keys[0])
    for_encoder = terms(params[1], draws.encoder, keys[1])
    return own._replace(cross_entropy=for_encoder.cross_entropy)


def neg_log_prior(model: LatentModel, z: Latents, own: Latent) -> Latents:
    """-log p per variable and group, in nats: ``own``, the prior's, on its scales,
    N(0, I) on others."""
    rest = tuple(normal.neg_log_prob(v) for v in model.vae.rest(z))
    return model.vae.merge(own, rest)

"""The bound and the objective: parts add up, gradients go where they should."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import elbo, experiment
from lsgm.config import build
from lsgm.model import LatentModel
from lsgm.priors.normal import StandardNormal
from tests import tiny


@functools.cache
def setting(own_times: bool = False):
    """Objective of the second stage, parameters off their start, a batch, draws."""
    config = tiny.config()
    if own_times:
        config.stages.lsgm.prior.encoder_times = dict(
            target="lsgm.objectives.time_sampling:Uniform", t_min=1e-2
        )
    made = experiment.from_config(config)
    objective = made.stages["lsgm"].objective(made.vae)
    params, mutables = objective.init(jax.random.key(0))
    params = jax.tree.map(lambda p: p + 0.03, params)
    levels = made.data.train_batches(0, 4).batch(0)["image"]
    x = made.vae.preprocess(jnp.asarray(levels))
    return (
        objective,
        params,
        mutables,
        x,
        elbo.draw(objective.model, jax.random.key(1), 4),
    )


def norm(tree) -> float:
    return float(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


def gradient(own_times: bool, term):
    """Gradient of ``term(bound)`` with respect to all parameters."""
    objective, params, mutables, x, draws = setting(own_times)

    def value(params):
        return jnp.sum(term(elbo.bound(objective.model, params, mutables, x, draws)))

    return jax.jit(jax.grad(value))(params)


def test_parts_add_up_to_the_bound_and_to_kl():
    objective, params, mutables, x, draws = setting()
    found = jax.jit(lambda p: elbo.bound(objective.model, p, mutables, x, draws))(
        params
    )
    total = found.reconstruction + found.neg_entropy + found.cross_entropy
    np.testing.assert_allclose(found.nelbo, total)
    np.testing.assert_allclose(
        found.kl.sum(0), found.neg_entropy + found.cross_entropy, rtol=1e-5
    )


def test_reconstruction_reaches_the_vae_and_not_the_prior():
    grads = gradient(False, lambda b: b.reconstruction)
    assert norm(grads["vae"]) > 0
    assert norm(grads["prior"]) == 0


def test_negative_entropy_reaches_the_encoder_only():
    grads = gradient(False, lambda b: b.neg_entropy)
    assert norm(grads["vae"]) > 0
    assert norm(grads["prior"]) == 0


@pytest.mark.parametrize("own_times", [False, True])
def test_cross_entropy_reaches_the_encoder(own_times):
    grads = gradient(own_times, lambda b: b.cross_entropy)
    assert norm(grads["vae"]) > 0


def test_prior_objective_with_own_encoder_times_leaves_the_vae_alone():
    grads = gradient(True, lambda b: b.prior_terms.losses["prior"])
    assert norm(grads["vae"]) == 0
    assert norm(grads["prior"]) > 0


def test_two_forms_of_the_joint_algorithm_agree_on_the_same_times():
    """Likelihood weighting: with the same rho for both, form (b) is form (a)."""
    one, params, mutables, x, draws = setting(False)
    prior = one.model.prior
    own = dataclasses.replace(prior, encoder_times=prior.time_sampler)
    two = LatentModel(vae=one.model.vae, prior=own)
    both = draws.prior._replace(rho_encoder=draws.prior.rho)
    a = elbo.bound(one.model, params, mutables, x, draws)
    b = elbo.bound(two, params, mutables, x, draws._replace(prior=both))
    np.testing.assert_allclose(b.cross_entropy, a.cross_entropy, rtol=1e-5)
    np.testing.assert_allclose(
        b.prior_terms.losses["prior"], a.prior_terms.losses["prior"], rtol=1e-5
    )


def test_score_prior_with_no_network_says_what_the_normal_prior_says():
    """alpha = 0 is N(0, I): the time integral, averaged over many draws and without
    a control variate, comes to the Normal bound within four standard errors."""
    objective, params, mutables, *_ = setting(False)
    off = {**params["prior"], "mixing_logit": jnp.full((2,), -40.0)}
    params = {**params, "prior": off}
    prior = dataclasses.replace(objective.model.prior, control_variate=False)
    z0 = jax.random.normal(jax.random.key(5), (1, *objective.model.vae.prior_shape))
    many = elbo.draw(objective.model, jax.random.key(7), 512).prior
    terms = jax.jit(lambda z: prior.terms(params, mutables, many, z, train=False))
    estimate = terms(jnp.tile(z0, (512, 1, 1, 1))).cross_entropy.sum((1, 2, 3))
    exact = prior.sde.normal_bound(z0, prior.time_sampler.t_min).sum()
    error = estimate.std() / np.sqrt(512)
    assert abs(estimate.mean() - exact) < 4 * error
    assert error < 0.05 * abs(exact)


def test_frozen_vae_runs_in_evaluation_mode_and_keeps_its_statistics():
    config = tiny.config()
    del config.stages.lsgm.optimizers.vae
    del config.stages.lsgm.regularization.vae
    made = experiment.from_config(config)
    objective = made.stages["lsgm"].objective(made.vae)
    params, mutables = objective.init(jax.random.key(0))
    *_, x, draws = setting()
    losses, aux = objective(params, mutables, x, draws, jnp.zeros((), jnp.int32))
    assert set(losses) == {"prior"}
    jax.tree.map(
        np.testing.assert_array_equal,
        aux.mutables["vae"]["batch_stats"],
        mutables["vae"]["batch_stats"],
    )


def test_prior_without_bound_cannot_train_a_vae():
    class Boundless(StandardNormal):
        has_bound = False

    spec = tiny.config().stages.vae.to_dict()
    del spec["prior"]
    with pytest.raises(ValueError, match="has no bound"):
        build(spec, "stages.vae", prior=Boundless())

"""The bound and the objective: parts add up, gradients go where they should."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import elbo
from lsgm.config import build
from lsgm.objectives.kl_balance import balance, group_weights
from lsgm.objectives.time_sampling import Uniform
from lsgm.priors.normal import StandardNormal
from tests import small, tiny

OWN_TIMES = Uniform(t_min=1e-2)
STAGES = {
    "joint": small.stage(),
    "own times": small.stage(prior=small.prior(encoder_times=OWN_TIMES)),
    "disjoint": small.stage(disjoint=True),
    "averaged": small.stage(disjoint=True, encoder_ema=True),
}
PRIOR_ALONE = dict(optimizers={"prior": small.Descent()}, regularization={})
FROZEN = {"frozen": small.stage(**PRIOR_ALONE)}
PUBLISHED = {
    f"published {name}": small.stage(reference_compatible=True, **fields)
    for name, fields in {
        "joint": dict(regularization={}),
        "disjoint": dict(regularization={}, disjoint=True),
        "frozen": PRIOR_ALONE,
    }.items()
}
SAME_TIMES = {"same times": small.stage(prior=small.prior(encoder_times=small.TIMES))}
ALL = STAGES | SAME_TIMES | FROZEN | PUBLISHED
TERMS = {
    "reconstruction": lambda bound: bound.reconstruction,
    "neg_entropy": lambda bound: bound.neg_entropy,
    "cross_entropy": lambda bound: bound.cross_entropy,
    "prior": lambda bound: bound.prior_terms.losses["prior"],
}


@functools.cache
def made(mode="joint"):
    """Objective, parameters, other parameters in place of averages, mutables."""
    objective = ALL[mode].objective(small.vae())
    params, mutables = small.variables()
    return objective, params, small.variables(seed=2)[0], mutables


def images(objective, num=4):
    return objective.model.vae.preprocess(small.batch(num))


@functools.cache
def terms_of(mode):
    """Compiled: the bound's terms and each one's gradient, for given draws."""
    objective, params, averaged, mutables = made(mode)

    def terms(params, draws):
        bound = elbo.bound(
            objective.model,
            params,
            mutables,
            images(objective),
            draws,
            encoder_params=averaged if objective.encoder_ema else None,
        )
        return {name: jnp.sum(term(bound)) for name, term in TERMS.items()}

    @functools.partial(jax.jit, compiler_options=small.QUICK)
    def run(params, draws):
        found, pullback = jax.vjp(lambda p: terms(p, draws), params)
        zeros = jax.tree.map(jnp.zeros_like, found)
        return found, {n: pullback({**zeros, n: jnp.ones(())})[0] for n in found}

    return lambda draws, params=params: run(params, draws)


def draws_of(mode, seed=1):
    return made(mode)[0].draw(jax.random.key(seed), 4)


@functools.cache
def compiled(mode):
    """One call of an objective: (step, averages) to losses, aux, and the terms
    behind them."""
    objective, params, _, mutables = made(mode)

    def run(step, averaged):
        x, draws = images(objective), objective.draw(jax.random.key(1), 4)
        found = objective(params, mutables, x, draws, step, None, averaged)
        trains = "vae" in objective.groups or objective.reference_compatible
        bound = elbo.bound(
            objective.model, params, mutables, x, draws, train_vae=trains
        )
        return *found, bound._replace(inferred=None)

    return jax.jit(run, compiler_options=small.QUICK)


def called(mode, step=0, averages_of=0):
    return compiled(mode)(jnp.asarray(step), small.variables(averages_of)[0])


def norm(tree) -> float:
    return float(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


def test_parts_add_up_to_the_bound_and_to_kl():
    *_, found = called("joint")
    total = found.reconstruction + found.neg_entropy + found.cross_entropy
    np.testing.assert_allclose(found.nelbo, total)
    np.testing.assert_allclose(
        found.kl.sum(0), found.neg_entropy + found.cross_entropy, rtol=1e-5
    )


@pytest.mark.parametrize("mode", STAGES)
def test_which_group_each_term_reaches(mode):
    """The table of who receives which gradient, before pullbacks choose."""
    _, gradients = terms_of(mode)(draws_of(mode))
    both, own_loss = {"vae", "prior"}, {"prior"}
    expected = {
        "reconstruction": {"vae"},
        "neg_entropy": {"vae"},
        "cross_entropy": {"vae"} if mode == "averaged" else both,
        "prior": own_loss if mode == "own times" else both,
    }
    for term, gradient in gradients.items():
        found = {group for group, leaves in gradient.items() if norm(leaves) > 0}
        assert found == expected[term], term


def test_two_forms_of_the_joint_algorithm_agree_on_the_same_times():
    """Likelihood weighting: with the encoder's times those of the prior, own times
    change nothing."""
    draws = draws_of("same times")
    same = draws._replace(prior=draws.prior._replace(rho_encoder=draws.prior.rho))
    plain = draws._replace(prior=draws.prior._replace(rho_encoder=None))
    found, expected = terms_of("same times")(same)[0], terms_of("joint")(plain)[0]
    for term in TERMS:
        np.testing.assert_allclose(found[term], expected[term], rtol=1e-5)


def test_disjoint_on_the_same_draws_is_joint():
    draws = draws_of("joint")
    found, gradients = terms_of("disjoint")(draws._replace(encoder=draws.prior))
    expected, joint = terms_of("joint")(draws)
    for term in TERMS:
        np.testing.assert_allclose(found[term], expected[term], rtol=1e-5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
            gradients[term],
            joint[term],
        )


def test_each_evaluation_has_its_own_draws_and_parameters():
    objective, params, averaged, _ = made("averaged")
    draws, other = draws_of("averaged"), draws_of("averaged", seed=2)
    for a, b in zip(draws.prior, draws.encoder, strict=True):
        assert a is b is None or not np.intersect1d(a, b).size
    run = terms_of("averaged")
    plain = run(draws)[0]

    def changed(*found):
        return {term for term in TERMS if abs(found[0][term] - plain[term]) > 1e-3}

    assert changed(*run(draws._replace(prior=other.prior))) == {"prior"}
    assert changed(*run(draws._replace(encoder=other.encoder))) == {"cross_entropy"}
    moved = {**params, "prior": averaged["prior"]}
    assert changed(*run(draws, moved)) == {"prior"}
    with_raw = terms_of("disjoint")(draws)
    assert changed(*with_raw) == {"cross_entropy"}


def test_two_evaluations_drop_different_entries():
    """In training, P and the cross-entropy of the same draws are one number in joint
    mode, and two in disjoint mode."""
    prior = small.prior(dropout=0.5).published()
    objective = small.stage(prior=prior, disjoint=True).objective(small.vae())
    params, mutables = small.variables()

    constant = 4 * small.SIZE**2 * prior.sde.bound_constant(small.TIMES.t_min)

    def gap(change):
        draws, x = objective.draw(jax.random.key(1), 4), images(objective)
        found = elbo.bound(
            objective.model, params, mutables, x, change(draws), train_prior=True
        )
        return found.cross_entropy - constant - found.prior_terms.losses["prior"]

    joint, disjoint = (
        jax.jit(functools.partial(gap, change), compiler_options=small.QUICK)()
        for change in (
            lambda draws: draws._replace(encoder=None),
            lambda draws: draws._replace(encoder=draws.prior),
        )
    )
    np.testing.assert_allclose(joint, 0, atol=1e-3)
    assert np.all(abs(disjoint) > 1e-2)


@pytest.mark.parametrize("step", [0, 5, 10])
def test_losses_from_their_terms(step):
    """Eqs. (3) and (4); balanced while the coefficient 0.7 + 0.03 step is below 1."""
    losses, aux, bound = called("joint", step)
    coeff = jnp.float32(0.7 + 0.03 * step)
    gammas = balance(bound.kl, coeff, group_weights((2,)))
    assert bool(jnp.all(gammas == 1)) == (step == 10)
    kl = coeff * (gammas[:, None] * bound.kl).sum(0)
    expected = {
        "vae": jnp.mean(bound.reconstruction + kl),
        "prior": jnp.mean(bound.prior_terms.losses["prior"]),
    }
    np.testing.assert_allclose(aux.metrics["kl_coeff"], coeff, rtol=1e-6)
    for group, loss in expected.items():
        assert aux.metrics[f"regularization_{group}"] > 0
        loss = loss + aux.metrics[f"regularization_{group}"]
        np.testing.assert_allclose(losses[group], loss, rtol=1e-5)


def test_averages_serve_the_encoder_alone():
    own, other = (called("averaged", averages_of=seed)[0] for seed in (0, 2))
    np.testing.assert_allclose(own["prior"], other["prior"], rtol=1e-5)
    assert abs(own["vae"] - other["vae"]) > 1e-2
    raw, raw_other = (called("disjoint", averages_of=seed)[0] for seed in (0, 2))
    assert raw == raw_other
    np.testing.assert_allclose(raw["vae"], own["vae"], rtol=1e-5)


@pytest.mark.parametrize("mode", PUBLISHED)
def test_published_prior_descends_the_encoder_s_loss_where_both_are_one(mode):
    losses, _, bound = called(mode)
    own = jnp.mean(bound.prior_terms.losses["prior"])
    if mode == "published joint":
        np.testing.assert_allclose(losses["prior"], losses["vae"], rtol=1e-6)
        assert abs(losses["prior"] - own) > 1e-2
    else:
        np.testing.assert_allclose(losses["prior"], own, rtol=1e-5)


@pytest.mark.parametrize("disjoint", [False, True])
def test_cross_entropy_of_a_prior_that_learned_nothing(disjoint):
    """alpha = 0 is N(0, I): the time integral, averaged over many draws and without
    a control variate, comes to the Normal bound within four standard errors."""
    prior = small.prior(control_variate=False)
    objective = small.stage(prior=prior, disjoint=disjoint).objective(small.vae())
    params, mutables = small.variables()
    own = {**params["prior"], "mixing_logit": jnp.full((4,), -40.0)}
    params = {**params, "prior": own}
    num, z0 = 1024, jax.random.normal(jax.random.key(5), (1, small.SIZE, small.SIZE, 4))
    draws = objective.draw(jax.random.key(7), num)
    draws = draws.encoder if disjoint else draws.prior
    found = jax.jit(
        lambda z: prior.terms(
            params, mutables, draws, z, step=jnp.int32(0), train=False
        )
    )
    estimate = found(jnp.tile(z0, (num, 1, 1, 1))).cross_entropy.sum((1, 2, 3))
    exact = prior.sde.normal_bound(z0, prior.time_sampler.t_min).sum()
    error = estimate.std() / np.sqrt(num)
    assert abs(estimate.mean() - exact) < 4 * error
    assert error < 0.05 * abs(exact)


@pytest.mark.parametrize("mode", ["frozen", "published frozen"])
def test_frozen_vae_keeps_its_statistics_unless_published(mode):
    losses, aux, _ = called(mode)
    assert set(losses) == {"prior"}
    found, start = (
        jax.tree.leaves(mutables["vae"]["batch_stats"])
        for mutables in (aux.mutables, small.variables()[1])
    )
    kept = [np.array_equal(a, b) for a, b in zip(found, start, strict=True)]
    assert kept == [mode == "frozen"] * 4


def test_prior_without_bound_cannot_train_a_vae():
    class Boundless(StandardNormal):
        has_bound = False

    spec = tiny.config().stages.vae.to_dict()
    del spec["prior"]
    with pytest.raises(ValueError, match="has no bound"):
        build(spec, "stages.vae", prior=Boundless())

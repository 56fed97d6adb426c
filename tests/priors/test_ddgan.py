"""The denoising diffusion GAN as a prior: who sees which gradient, and what is counted.

Its networks are linear here, so that losses and samples have closed forms.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import numerics
from lsgm.objectives.adversarial import LazyR1
from lsgm.priors.base import Prior
from lsgm.priors.ddgan import DISCRIMINATOR, GENERATOR, SCALE, DenoisingGAN
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.chain import Chain
from lsgm.training import state as states
from lsgm.training.parallel import AXIS, pmap_update, split_over_devices
from lsgm.training.step import make_update
from tests import small

Z_SHAPE, NUM = (2, 2, 3), 6


def near(value):
    """Initialiser: the value, and of the key next to nothing."""
    return lambda key: value + 1e-9 * jax.random.normal(key)


class Shift(nn.Module):
    """x_0' = a + w x_k + z_1, in all entries."""

    latent_dim: int = 2

    @nn.compact
    def __call__(self, x, level, z, *, train):
        a = self.param("a", near(0.5))
        w = self.param("w", near(0.25))
        return a + w * x + numerics.expand_to(z[:, 0], x)


class Linear(nn.Module):
    """D = b sum x_{k-1} + k sum x_k."""

    @nn.compact
    def __call__(self, cleaner, noisier, level, *, train):
        b = self.param("b", near(0.1))
        total = numerics.sum_per_example
        return b * total(cleaner) + level.astype(jnp.float32) * total(noisier) / 40


def make(num_steps=4, **fields):
    settings = dict(
        chain=Chain(num_steps=num_steps),
        generator=Shift(),
        discriminator=Linear(),
        r1=LazyR1(gamma=0.2, every=3),
    )
    return DenoisingGAN(**(settings | fields))


def draws_of(prior, seed=0):
    keys = numerics.example_keys(jax.random.key(seed), jnp.arange(NUM))
    return prior.draw(jax.random.key(9), keys, jnp.arange(NUM), NUM, Z_SHAPE)


@pytest.fixture
def z0():
    return jax.random.normal(jax.random.key(5), (NUM, *Z_SHAPE))


def losses(prior, params, draws, z0, step=1):
    terms = prior.terms(params, {}, draws, z0, step=jnp.int32(step), train=False)
    return {group: jnp.mean(loss) for group, loss in terms.losses.items()}, terms


def test_it_is_a_prior_without_a_bound(z0):
    prior = make()
    assert isinstance(prior, Prior) and not prior.has_bound
    assert prior.phases == ((DISCRIMINATOR,), (GENERATOR,))
    assert prior.averaged == (GENERATOR,)
    params, _ = prior.init(jax.random.key(0), Z_SHAPE)
    assert losses(prior, params, draws_of(prior), z0)[1].cross_entropy is None
    with pytest.raises(ValueError, match="no density"):
        prior.log_prob(params, {}, z0, flow=ProbabilityFlow(), probes=z0[:, None])


def test_losses_by_hand(z0):
    prior = make()
    params, _ = prior.init(jax.random.key(0), Z_SHAPE)
    draws = draws_of(prior)
    _, terms = losses(prior, params, draws, z0, step=3)
    table = prior.chain.table
    for i, k in enumerate(draws.level.tolist()):
        abar = np.append(1.0, table.abar)[k - 1]
        cleaner = abar**0.5 * z0[i] + (1 - abar) ** 0.5 * draws.eps[i]
        beta = table.beta[k - 1]
        noisier = (1 - beta) ** 0.5 * cleaner + beta**0.5 * draws.eps_step[i]
        guess = 0.5 + 0.25 * noisier + draws.latent[i, 0]
        fake = table.c0[k - 1] * guess + table.c1[k - 1] * noisier
        fake = fake + table.var[k - 1] ** 0.5 * draws.eps_fake[i]
        logits = [
            float(0.1 * jnp.sum(x) + k * jnp.sum(noisier) / 40) for x in (cleaner, fake)
        ]
        # |grad D|^2 = 12 b^2, at a third step three times as strong.
        penalty = 3 * 0.1 * 12 * 0.1**2
        expected = np.logaddexp(0, -logits[0]) + np.logaddexp(0, logits[1]) + penalty
        found = terms.losses[DISCRIMINATOR][i]
        np.testing.assert_allclose(found, expected, rtol=1e-4)
        expected = np.logaddexp(0, -logits[1])
        np.testing.assert_allclose(terms.losses[GENERATOR][i], expected, rtol=1e-4)


def test_no_gradient_crosses_over(z0):
    """Of neither player's loss to the other's parameters, and of none to latents."""
    prior = make()
    params, _ = prior.init(jax.random.key(0), Z_SHAPE)
    draws = draws_of(prior)

    def loss(group, params, z0):
        return losses(prior, params, draws, z0)[0][group]

    players = (DISCRIMINATOR, GENERATOR)
    for group, opponent in (players, players[::-1]):
        own, latents = jax.grad(functools.partial(loss, group), (0, 1))(params, z0)
        assert all(jnp.abs(g) > 1e-6 for g in jax.tree.leaves(own[group]))
        assert all(g == 0 for g in jax.tree.leaves(own[opponent]))
        assert (latents == 0).all()


def test_levels_are_uniform_and_each_example_s_own():
    prior = make(num_steps=4)
    keys = numerics.example_keys(jax.random.key(1), jnp.arange(4000))
    level = prior.draw(jax.random.key(2), keys, jnp.arange(4000), 4000, (1, 1, 1)).level
    counts = np.bincount(np.asarray(level), minlength=5)
    assert counts[0] == 0 and abs(counts[1:] - 1000).max() < 120


def test_accuracy_is_by_level(z0):
    prior = make(num_steps=8)
    params, _ = prior.init(jax.random.key(0), Z_SHAPE)
    draws = draws_of(prior)._replace(level=jnp.array([1, 1, 1, 2, 2, 2], jnp.int32))
    real = jnp.array([1.0, -1.0, 1.0, 2.0, 2.0, 2.0])
    fake = jnp.array([-1.0, 1.0, -1.0, -2.0, -2.0, 2.0])
    found = prior._accuracies(real, fake, draws.level)
    np.testing.assert_allclose(found["accuracy_level_1"], 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(found["accuracy_level_2"], 5 / 6, rtol=1e-6)
    assert found["accuracy_level_8"] == 0.5
    metrics = losses(prior, params, draws, z0)[1].metrics
    assert {"r1", *found} == set(metrics)


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_samples_of_a_perfect_guess_are_the_data(num_steps):
    """The true conditional mean of Normal data with the true conditional variance: a
    linear guess whose latent makes up for what the mean leaves out."""

    class Exact(nn.Module):
        latent_dim: int = 12

        @nn.compact
        def __call__(self, x, level, z, *, train):
            abar = jnp.asarray(Chain(num_steps=num_steps).table.abar, x.dtype)
            keep = numerics.expand_to(abar[level - 1], x)
            mean = jnp.sqrt(keep) * x
            return mean + jnp.sqrt(1 - keep) * z.reshape(x.shape)

    prior = make(num_steps, generator=Exact())
    params = {GENERATOR: {}, DISCRIMINATOR: {}}
    done = prior.sample(params, {}, jax.random.key(0), (4000, *Z_SHAPE), num_path=3)
    assert int(done.nfe) == num_steps and done.path.shape == (3, 4000, *Z_SHAPE)
    np.testing.assert_array_equal(done.path[-1], done.z0)
    flat = np.asarray(done.z0).reshape(4000, -1)
    np.testing.assert_allclose(flat.mean(0), 0, atol=0.08)
    np.testing.assert_allclose(np.cov(flat.T), np.eye(12), atol=0.12)


def test_resampling_keeps_what_the_noise_leaves(z0):
    """On average over noise and latents, the guess of the mean of x_1."""
    prior = make()
    params, _ = prior.init(jax.random.key(0), Z_SHAPE)
    done = prior.resample(params, jax.random.key(1), z0, 2)
    assert int(done.nfe) == 2 and done.z0.shape == z0.shape
    many = jnp.broadcast_to(z0[:1], (5000, *Z_SHAPE))
    abar = prior.chain.table.abar
    found = prior.resample(params, jax.random.key(2), many, 1).z0.mean(0)
    expected = 0.5 + 0.25 * abar[0] ** 0.5 * np.asarray(z0[0])
    np.testing.assert_allclose(found, expected, atol=0.06)
    with pytest.raises(ValueError, match="levels 1 to 4"):
        prior.resample(params, jax.random.key(1), z0, 5)


def test_standardised_latents_reach_the_networks_and_come_back(z0):
    prior = make(standardise=True)
    assert prior.phases == ((SCALE, DISCRIMINATOR), (GENERATOR,))
    assert prior.averaged == (SCALE, GENERATOR)
    params, _ = prior.init(jax.random.key(0), Z_SHAPE)
    scale = {
        "mean": jnp.array([3.0, -1.0, 0.0]),
        "log_std": jnp.log(jnp.array([2.0, 0.5, 1.0])),
    }
    scaled = {**params, SCALE: scale}
    mean, std = (
        scale["mean"][None, None, None],
        jnp.exp(scale["log_std"])[None, None, None],
    )
    draws = draws_of(prior)
    plain, _ = losses(prior, params, draws, z0)
    found, _ = losses(prior, scaled, draws, mean + std * z0)
    for group in (DISCRIMINATOR, GENERATOR):
        np.testing.assert_allclose(found[group], plain[group], rtol=1e-5)
    key = jax.random.key(3)
    first = prior.sample(params, {}, key, (2, *Z_SHAPE), num_path=2)
    second = prior.sample(scaled, {}, jax.random.clone(key), (2, *Z_SHAPE), num_path=2)
    np.testing.assert_allclose(second.z0, mean + std * first.z0, atol=1e-5)
    np.testing.assert_allclose(second.path[-1], second.z0, atol=1e-6)


def test_scale_s_loss_is_least_at_the_latents_moments(z0):
    prior = make(standardise=True)
    params, _ = prior.init(jax.random.key(0), Z_SHAPE)
    own = {"mean": z0.mean((0, 1, 2)), "log_std": jnp.log(z0.std((0, 1, 2)))}

    def loss(own):
        return losses(prior, {**params, SCALE: own}, draws_of(prior), z0)[0][SCALE]

    for slope in jax.tree.leaves(jax.grad(loss)(own)):
        np.testing.assert_allclose(slope, 0, atol=1e-5)


def test_the_update_moves_both_players_on_all_devices():
    """Through the pmapped step: a lazy penalty is a branch, and its types agree."""
    prior = make(standardise=True)
    stage = small.stage(
        prior=prior,
        optimizers={group: small.Descent() for group in prior.groups},
        regularization={},
    )
    objective = stage.objective(small.vae())
    params, mutables = objective.init(jax.random.key(0))
    before = states.create(
        jax.random.key(1), params, mutables, stage.transformations(), stage.averaged
    )
    update = make_update(objective, stage.transformations(), stage.ema, AXIS)
    batch = split_over_devices(jax.tree.map(np.asarray, small.batch()))
    new, metrics = small.on_trees(pmap_update(update))(before, batch)
    for group in prior.groups:
        pairs = zip(
            jax.tree.leaves(new.params[group]),
            jax.tree.leaves(before.params[group]),
            strict=True,
        )
        assert all((a != b).any() for a, b in pairs)
        assert float(metrics[f"grad_norm_{group}"]) > 0
    assert set(new.ema) == {SCALE, GENERATOR} and float(metrics["skipped"]) == 0
    assert float(metrics["r1"]) > 0
    jax.tree.map(np.testing.assert_array_equal, new.params["vae"], before.params["vae"])


def test_an_encoder_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="DenoisingGAN has no bound"):
        small.stage(
            prior=make(),
            optimizers={g: small.Descent() for g in ("vae", *make().groups)},
            regularization={},
        )

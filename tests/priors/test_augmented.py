"""The score prior on an augmented process: 2-D data, whose bound is known."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lsgm import numerics
from lsgm.networks.embeddings import Positional
from lsgm.networks.mlp import MLP
from lsgm.objectives.time_sampling import Importance, Uniform
from lsgm.objectives.weighting import LikelihoodWeighting, Unweighted
from lsgm.priors.score import ScorePrior
from lsgm.samplers.likelihood import unit_vectors
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.cld import CLD
from tests.marks import first_fast
from tests.samplers.exact import AnyGaussian

SDE = CLD()
MODEL, DATA = (0.4, 1.5), (1.0, 0.7)
T_MIN = 1e-3
SHAPE = (1, 1, 2)
OWN_TIMES = Importance(weighting=LikelihoodWeighting(), t_min=T_MIN)
# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}


class LangevinNetwork(nn.Module):
    """Predicts the velocity's noise for Gaussian data of one variance per channel."""

    variances: tuple[float, ...]

    def __call__(self, u, t, *, train):
        flat = u.reshape(len(u), -1)
        residual = AnyGaussian(SDE, self.variances).residual(flat, t)
        return (residual + SDE.normal_eps(flat, t)).reshape(*u.shape[:3], -1)


def make(network=None, **fields):
    fields = {
        "weighting": LikelihoodWeighting(),
        "time_sampler": OWN_TIMES,
        "mixed": False,
        **fields,
    }
    return ScorePrior(
        sde=SDE,
        network=network or LangevinNetwork(MODEL),
        sampler=ProbabilityFlow(rtol=1e-4, atol=1e-4, t_end=T_MIN),
        **fields,
    )


def draw(prior, num, key):
    first, second = jax.random.split(key)
    indices = numerics.example_indices(num)
    keys = numerics.example_keys(first, indices)
    return prior.draw(second, keys, indices, num, SHAPE)


def latents(num, key, variances=DATA):
    deviation = jnp.sqrt(jnp.asarray(variances))[None, None, None]
    return deviation * jax.random.normal(key, (num, *SHAPE))


def cross_entropy(data, model):
    """Of N(0, data + nu) and N(0, model + nu): the bound for an exact predictor."""
    nu = float(SDE.data_noise(jnp.array([T_MIN]))[0])
    data, model = np.asarray(data) + nu, np.asarray(model) + nu
    return 0.5 * (np.log(2 * np.pi * model) + data / model)


CASES = {
    "likelihood": make(),
    "unweighted, own times": make(
        weighting=Unweighted(),
        time_sampler=Uniform(t_min=T_MIN),
        encoder_times=OWN_TIMES,
    ),
    "without control variate": make(control_variate=False),
}


@pytest.mark.parametrize("case", first_fast(CASES))
def test_cross_entropy_of_gaussians(case):
    prior, num = CASES[case], 20_000

    @jax.jit
    def run(key):
        params, mutables = prior.init(jax.random.key(0), SHAPE)
        first, second = jax.random.split(key)
        return prior.terms(
            params,
            mutables,
            draw(prior, num, first),
            latents(num, second),
            step=jnp.int32(0),
            train=False,
        )

    found = run(jax.random.key(1))
    assert found.cross_entropy.shape == (num, *SHAPE)
    assert found.losses["prior"].shape == (num,)
    values = np.asarray(found.cross_entropy)[:, 0, 0]
    error = values.std(0) / num**0.5
    gap = values.mean(0) - cross_entropy(DATA, MODEL)
    assert np.all(np.abs(gap) < 4 * error + 1e-4) and np.all(error < 0.1)


def test_samples_and_likelihoods_are_the_model_s():
    prior = make()
    params, mutables = prior.init(jax.random.key(0), SHAPE)

    @jax.jit
    def run(key):
        return prior.sample(params, mutables, key, (4000, *SHAPE), num_path=2)

    done = run(jax.random.key(5))
    assert done.z0.shape == (4000, *SHAPE) and done.path.shape == (2, 4000, *SHAPE)
    np.testing.assert_array_equal(done.path[-1], done.z0)
    ratio = np.asarray(done.z0).var((0, 1, 2)) / np.asarray(MODEL)
    assert np.all(np.abs(ratio - 1) < 5 * np.sqrt(2 / 4000))

    z0, eps = jax.random.normal(jax.random.key(6), (2, 5, *SHAPE))

    def log_prob(z, e):
        probes = unit_vectors(z.shape)
        return prior.log_prob(
            params, mutables, z, flow=prior.sampler, probes=probes, eps=e
        )

    found = jax.jit(log_prob, compiler_options=QUICK)(z0, eps).log_prob
    variances = np.asarray(MODEL)
    square = np.asarray(z0)[:, 0, 0] ** 2 / variances
    expected = -0.5 * np.sum(square + np.log(2 * np.pi * variances), -1)
    # One velocity each; its distribution is the model's to first order in T_MIN.
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_learns_a_density():
    """An MLP on [b 1 1 4] gives [b 1 1 2]; most of what the Normal bound leaves above
    the entropy is gone after 1000 small steps."""
    embedding = Positional(dim=32, scale=10.0)
    network = MLP(width=32, depth=2, out_channels=2, embedding=embedding)
    prior = make(network, mixed=True, mixing_logit_init=0.0)
    params, mutables = prior.init(jax.random.key(0), SHAPE)
    learned = params["prior"]["network"]
    assert learned["hidden_0"]["kernel"].shape == (4, 32)
    assert params["prior"]["mixing_logit"].shape == (2,)
    variances, num = (0.3, 0.6), 256
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, 1000))

    def bound(params, key, num):
        first, second = jax.random.split(key)
        z0 = latents(num, second, variances)
        drawn = draw(prior, num, first)
        found = prior.terms(params, mutables, drawn, z0, step=jnp.int32(0), train=False)
        loss = jnp.mean(found.losses["prior"])
        return loss, jnp.mean(jnp.sum(found.cross_entropy, (1, 2, 3)))

    @jax.jit
    def train(params, key):
        def step(carry, key):
            params, state = carry
            grads = jax.grad(lambda p: bound(p, key, num)[0])(params)
            updates, state = optimizer.update(grads, state)
            return (optax.apply_updates(params, updates), state), None

        keys = jax.random.split(key, 1000)
        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
        return params

    with jax.numpy_dtype_promotion("standard"):  # for optax
        after = train(params, jax.random.key(1))
    at_start, at_end = (
        float(jax.jit(lambda p: bound(p, jax.random.key(2), 8192)[1])(p))
        for p in (params, after)
    )
    exact = cross_entropy(variances, variances).sum()
    normal = cross_entropy(variances, (1.0, 1.0)).sum()
    assert at_start > normal > exact + 0.3
    assert exact - 0.05 < at_end < exact + 0.15


def test_a_network_with_the_state_s_channels_is_refused():
    prior = make(MLP(width=8, depth=1))
    params, mutables = prior.init(jax.random.key(0), SHAPE)
    u, t = jnp.ones((3, 1, 1, 4)), jnp.full((3,), 0.5)
    with pytest.raises(ValueError, match="set network.out_channels = 2"):
        prior.residual_fn(params, mutables)(u, t)


def test_inactive_channels_are_hidden_in_positions_and_velocities():
    prior = make(MLP(width=8, depth=1, out_channels=2))
    params, mutables = prior.init(jax.random.key(0), SHAPE)
    params = jax.tree.map(lambda p: p + 0.1, params)
    active = jnp.array([1.0, 0.0])
    params, mutables = prior.drop_channels(params, mutables, active)
    residual = prior.residual_fn(params, mutables)
    u, t = jax.random.normal(jax.random.key(1), (3, 1, 1, 4)), jnp.full((3,), 0.5)
    moved = u.at[..., 1::2].add(1.0)
    shown = [residual(x, t) + SDE.normal_eps(x, t) for x in (u, moved)]
    np.testing.assert_allclose(shown[0], shown[1], atol=1e-6)
    assert not np.allclose(residual(u.at[..., 2].add(1.0), t), residual(u, t))


def test_published_estimators_leave_the_boundary_out():
    prior = make()
    published = prior.published()
    params, mutables = prior.init(jax.random.key(0), SHAPE)
    z0 = latents(4, jax.random.key(3))
    draws = draw(prior, 4, jax.random.key(4))
    plain = dataclasses.replace(published, boundary_term=True)

    @jax.jit
    def both(draws, z0):
        return [
            p.terms(
                params, mutables, draws, z0, step=jnp.int32(0), train=False
            ).cross_entropy
            for p in (plain, published)
        ]

    gap = both(draws, z0)
    np.testing.assert_allclose(gap[0] - gap[1], SDE.prior_kl(z0), atol=2e-6)

"""The score prior: bounds that are exact, gradients that go where they should."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import numerics
from lsgm.objectives.time_sampling import Importance, Uniform
from lsgm.objectives.weighting import LikelihoodWeighting, Reweighted, Unweighted
from lsgm.priors.score import ScorePrior
from lsgm.samplers.ddim import DDIM
from lsgm.samplers.normal_residual import NormalResidual
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vpsde import VPSDE
from tests.priors.exact import AffineNetwork, DropoutNetwork, GaussianNetwork

VP, GEOMETRIC = VPSDE(), GeometricVPSDE()
MODEL, DATA = (0.4, 1.5), (1.0, 0.7)
T_MIN = 1e-2
SHAPE = (2, 1, 2)
OWN_TIMES = Importance(weighting=LikelihoodWeighting(), t_min=T_MIN)


def make(sde=VP, weighting=None, network=None, times=None, **fields):
    weighting = weighting or LikelihoodWeighting()
    return ScorePrior(
        sde=sde,
        network=network or GaussianNetwork(sde, MODEL),
        weighting=weighting,
        time_sampler=times or Importance(weighting=weighting, t_min=T_MIN),
        sampler=ProbabilityFlow(rtol=1e-4, atol=1e-4, t_end=1e-3),
        **{"mixed": False, **fields},
    )


def draw(prior, num, seed=1, z_shape=SHAPE):
    indices = numerics.example_indices(num)
    keys = numerics.example_keys(jax.random.key(seed), indices)
    return prior.draw(jax.random.key(seed + 1), keys, indices, num, z_shape)


def latents(num, variances=DATA):
    deviation = jnp.sqrt(jnp.asarray(variances))[None, None, None]
    return deviation * jax.random.normal(jax.random.key(7), (num, *SHAPE))


def evaluate(prior, draws, z0, **settings):
    params, mutables = prior.init(jax.random.key(0), z0.shape[1:])
    settings = {"step": jnp.int32(0), "train": False, **settings}
    return prior.terms(params, mutables, draws, z0, **settings)


def marginal_var(sde, data_var, t=T_MIN):
    t = jnp.array([t])
    return np.asarray(sde.alpha(t) ** 2 * jnp.asarray(data_var) + sde.var(t))


CASES = {
    "likelihood": make(),
    "likelihood, stratified": make(
        times=Importance(weighting=LikelihoodWeighting(), t_min=T_MIN, stratified=True)
    ),
    "unweighted, reweighted for the encoder": make(weighting=Unweighted()),
    "unweighted, own times": make(weighting=Unweighted(), encoder_times=OWN_TIMES),
    "reweighted, own times": make(weighting=Reweighted(), encoder_times=OWN_TIMES),
    "geometric, uniform times": make(sde=GEOMETRIC, times=Uniform(t_min=T_MIN)),
    "without control variate": make(control_variate=False),
    "mixed score": make(
        network=GaussianNetwork(VP, MODEL, mixing=0.5),
        mixed=True,
        mixing_logit_init=0.0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_cross_entropy_of_gaussians(case):
    """Eq. (2) in the mean is E_q[-log p] of the distributions at t_min."""
    prior, num = CASES[case], 20_000
    found = jax.jit(lambda d, z: evaluate(prior, d, z).cross_entropy)(
        draw(prior, num), latents(num)
    )
    found = np.asarray(found).mean((1, 2))  # one time for both: average first
    ours, theirs = (marginal_var(prior.sde, v) for v in (DATA, MODEL))
    expected = 0.5 * (np.log(2 * np.pi * theirs) + ours / theirs)
    error = found.std(0) / num**0.5
    assert np.all(abs(found.mean(0) - expected) < 4 * error)
    assert np.all(error < 0.05)


@pytest.mark.parametrize("case", ["likelihood", "reweighted, own times"])
def test_gradient_of_the_cross_entropy(case):
    """In the mean over draws it is that of E[-log p(z at t_min)]."""
    prior, num = CASES[case], 20_000
    z0 = jnp.broadcast_to(jnp.array([0.8, -1.3]), (num, *SHAPE))
    draws = draw(prior, num)
    gradient = jax.jit(
        jax.grad(lambda z: jnp.sum(evaluate(prior, draws, z).cross_entropy))
    )(z0)
    gradient = np.asarray(gradient).mean((1, 2))
    decay = float(prior.sde.alpha(jnp.array([T_MIN]))[0]) ** 2
    expected = decay * np.asarray(z0[0, 0, 0]) / marginal_var(prior.sde, MODEL)
    error = gradient.std(0) / num**0.5
    assert np.all(abs(gradient.mean(0) - expected) < 4 * error)
    assert np.all(error < 0.05)


def test_boundary_term_is_the_kl_at_the_end():
    prior = make(sde=GEOMETRIC, boundary_term=True)
    without = dataclasses.replace(prior, boundary_term=False)
    z0, draws = latents(5), draw(prior, 5)
    gap = [evaluate(p, draws, z0).cross_entropy for p in (prior, without)]
    np.testing.assert_allclose(gap[0] - gap[1], GEOMETRIC.prior_kl(z0), atol=2e-6)
    at_one = float(GEOMETRIC.prior_kl(jnp.ones((1, 1)))[0, 0])
    np.testing.assert_allclose(at_one, 5.0e-4, rtol=1e-2)


@pytest.mark.parametrize("boundary", [True, False])
@pytest.mark.parametrize(
    "sde", [VPSDE(beta_1=2.0), GeometricVPSDE(var_max=0.8)], ids=["linear", "geometric"]
)
def test_bound_of_the_normal_prior(sde, boundary):
    """Its predictor leaves nothing to estimate: with the control variate every draw
    is the closed form, -E log N(u_tau; 0, 1), less the KL at t = 1 without the
    boundary term. These processes keep enough of the data for the KL to be seen."""
    normal = GaussianNetwork(sde, (sde.data_var,) * 2)
    prior, z0 = make(sde=sde, network=normal, boundary_term=boundary), latents(3)
    found = evaluate(prior, draw(prior, 3), z0).cross_entropy
    (start, end), (var, last) = (
        numerics.on_host(of, [T_MIN, 1.0]) for of in (sde.alpha, sde.var)
    )
    z2 = np.asarray(z0, np.float64) ** 2
    expected = 0.5 * (np.log(2 * np.pi) + start**2 * z2 + var)
    kl = 0.5 * (end**2 * z2 + last - 1 - np.log(last))
    assert kl.min() > 1e-3
    np.testing.assert_allclose(found, expected - (not boundary) * kl, atol=1e-5)


@pytest.mark.parametrize(
    "weighting", [LikelihoodWeighting(), Reweighted(), Unweighted()]
)
def test_one_draw_serves_two_weights(weighting):
    """Without own times, Eqs. (1) and (2) share the squared error of one call."""
    prior = make(weighting=weighting, boundary_term=False, control_variate=False)
    draws, z0 = draw(prior, 6), latents(6)
    found = evaluate(prior, draws, z0)
    error = found.cross_entropy - VP.bound_constant(T_MIN)
    t, _ = prior.time_sampler.times(VP, draws.rho)
    ratio = weighting(VP, t) / LikelihoodWeighting()(VP, t)
    expected = ratio * numerics.sum_per_example(error)
    np.testing.assert_allclose(found.losses["prior"], expected, rtol=2e-4)
    assert prior.shares_objective == isinstance(weighting, LikelihoodWeighting)


def affine(**fields):
    seen = []
    return make(network=AffineNetwork(seen.append), **fields), seen


@pytest.mark.parametrize("own", [False, True])
def test_gradients_by_term(own):
    """P never reaches the encoder where it has its own times; the cross-entropy
    reaches it always; both reach the network."""
    prior, _ = affine(encoder_times=OWN_TIMES if own else None, mixed=True)
    z0, draws = latents(4), draw(prior, 4)
    params, mutables = prior.init(jax.random.key(0), SHAPE)

    def gradient(term):
        def value(params, z0):
            found = prior.terms(
                params, mutables, draws, z0, step=jnp.int32(0), train=False
            )
            return jnp.sum(term(found))

        return jax.jit(jax.grad(value, (0, 1)))(params, z0)

    for_prior, to_encoder = gradient(lambda found: found.losses["prior"])
    assert all(jnp.all(leaf != 0) for leaf in jax.tree.leaves(for_prior))
    assert bool(jnp.all(to_encoder == 0)) == own
    for_prior, to_encoder = gradient(lambda found: found.cross_entropy)
    assert jnp.all(to_encoder != 0)
    assert any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(for_prior))


@pytest.mark.parametrize("own", [False, True])
def test_the_network_runs_once_for_each_draw_of_times(own):
    prior, seen = affine(encoder_times=OWN_TIMES if own else None)
    params, mutables = prior.init(jax.random.key(0), SHAPE)
    draws = draw(prior, 3)
    seen.clear()
    prior.terms(params, mutables, draws, latents(3), step=jnp.int32(0), train=False)
    assert seen == [(3, *SHAPE)] * (2 if own else 1)


def test_both_halves_share_the_noise():
    """With the same times as the prior, own times change nothing."""
    prior = make(encoder_times=OWN_TIMES)
    draws, z0 = draw(prior, 4), latents(4)
    same = evaluate(prior, draws._replace(rho_encoder=draws.rho), z0)
    one = evaluate(dataclasses.replace(prior, encoder_times=None), draws, z0)
    np.testing.assert_allclose(same.cross_entropy, one.cross_entropy, rtol=1e-5)
    np.testing.assert_allclose(same.losses["prior"], one.losses["prior"], rtol=1e-5)
    assert not np.any(draws.rho == draws.rho_encoder)


@pytest.mark.parametrize("stratified", [False, True])
def test_draws_do_not_depend_on_the_devices(stratified):
    """Two devices with half of the examples each draw what one draws."""
    times = Uniform(t_min=T_MIN, stratified=stratified)
    prior = make(times=times, encoder_times=times)
    indices = numerics.example_indices(4)
    keys = numerics.example_keys(jax.random.key(3), indices)
    shared = jax.random.key(4)
    whole = prior.draw(jax.random.clone(shared), keys, indices, 4, SHAPE)
    halves = [
        prior.draw(
            jax.random.clone(shared), jax.random.clone(keys)[i], indices[i], 4, SHAPE
        )
        for i in (slice(0, 2), slice(2, 4))
    ]
    joined = jax.tree.map(lambda *parts: jnp.concatenate(parts), *halves)
    jax.tree.map(np.testing.assert_array_equal, whole, joined)
    assert len(np.unique(whole.rho)) == 4


def test_initial_state():
    prior, _ = affine(mixed=True, mixing_logit_init=-3.0)
    params, mutables = prior.init(jax.random.key(0), SHAPE)
    own = params["prior"]
    assert set(own) == {"network", "mixing_logit"}
    np.testing.assert_array_equal(own["mixing_logit"], [-3.0, -3.0])
    np.testing.assert_array_equal(mutables["prior"]["active"], [1.0, 1.0])
    metrics = evaluate(prior, draw(prior, 2), latents(2)).metrics
    np.testing.assert_allclose(metrics["mixing"], 1 / (1 + np.exp(3.0)), rtol=1e-6)


def test_inactive_channels_are_hidden_from_the_network():
    prior, _ = affine()
    params, mutables = prior.init(jax.random.key(0), SHAPE)
    mutables = {"prior": {"active": jnp.array([1.0, 0.0])}}
    u, t = latents(3), jnp.full((3,), 0.5)
    residual = prior.residual_fn(params, mutables)(u, t)
    seen = u * jnp.array([1.0, 0.0])[None, None, None]
    learned = params["prior"]["network"]
    raw = learned["gain"] * seen + 0.5 * learned["shift"]
    expected = raw - VP.normal_eps(u, t)
    np.testing.assert_allclose(residual, expected, rtol=1e-5, atol=1e-6)


def test_dropout_acts_in_training_alone():
    prior = make(network=DropoutNetwork())
    z0, draws = latents(4), draw(prior, 4)
    plain, *dropped = (
        evaluate(prior, draws, z0, **settings).losses["prior"]
        for settings in (
            {},
            {"train": True, "dropout_key": jax.random.key(1)},
            {"train": True, "dropout_key": jax.random.key(1)},
            {"train": True, "dropout_key": jax.random.key(2)},
        )
    )
    assert jnp.array_equal(dropped[0], dropped[1])
    assert not jnp.array_equal(dropped[0], dropped[2])
    assert not jnp.array_equal(dropped[0], plain)


def test_samples_have_the_model_s_moments():
    prior = make()
    done = jax.jit(
        lambda key: prior.sample({"prior": {"network": {}}}, ACTIVE, key, N)
    )(jax.random.key(5))
    variance = np.asarray(done.z0).var((0, 1, 2))
    expected = marginal_var(VP, MODEL, 1e-3)
    count = N[0] * N[1] * N[2]
    assert np.all(abs(variance / expected - 1) < 5 * np.sqrt(2 / count))
    assert int(done.nfe) % 6 == 2 and done.path is None


N = (3000, *SHAPE)
ACTIVE = {"prior": {"active": jnp.ones(2)}}


def test_temperature_and_path():
    """A network that adds nothing leaves the initial noise where it is."""
    prior = make(network=GaussianNetwork(VP, (1.0, 1.0)), mixed=False)
    prior = dataclasses.replace(prior, sampler=DDIM(num_steps=3, t_end=1e-3))
    params = {"prior": {"network": {}}}
    cold, warm = (
        prior.sample(
            params, ACTIVE, jax.random.key(5), (4, *SHAPE), temperature=s, num_path=2
        )
        for s in (0.5, 1.0)
    )
    np.testing.assert_allclose(2 * cold.z0, warm.z0, rtol=1e-5)
    assert int(warm.nfe) == 3 and warm.path.shape == (2, 4, *SHAPE)
    np.testing.assert_array_equal(warm.path[-1], warm.z0)


def test_a_sampler_that_does_not_fit_the_process_is_refused():
    with pytest.raises(ValueError, match="NormalResidual needs a VariancePreserving"):
        dataclasses.replace(make(sde=SubVPSDE()), sampler=NormalResidual())

"""CLD's networks against the published ones, on their weights."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lsgm.config import build
from lsgm.interop import cld_config, ncsnpp_names
from tests.golden.files import fixtures_with

# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}


def nhwc(array):
    return jnp.asarray(np.moveaxis(array, 1, -1))


class Fixture:
    """The prior that a file's config describes, with the file's weights."""

    def __init__(self, path):
        with np.load(path) as arrays:
            self.arrays = dict(arrays)
        self.config = json.loads(str(self.arrays["config"]))
        self.prior = build(cld_config.prior_piece(self.config))
        names = [key for key in self.arrays if key.startswith("sd/")]
        self.state = {key.removeprefix("sd/"): self.arrays[key] for key in names}
        shape = nhwc(self.arrays["loss/x"]).shape[1:]
        own = jax.eval_shape(lambda: self.prior.init(jax.random.key(0), shape))
        self.own, self.mutables = own[0]["prior"], own[1]
        self.fir = self.prior.network.fir
        tree = ncsnpp_names.read(self.state, self.own, fir=self.fir, numbered=True)
        self.tree = tree
        self.params = jax.tree.map(jnp.asarray, tree)

    @functools.cached_property
    def run(self):
        """(u, t) -> output and residual; and the loss's gradient, compiled."""
        prior = self.prior
        active = {"prior": {"active": jnp.ones(self.mutables["prior"]["active"].shape)}}

        def both(params, u, t):
            raw = prior.network.apply({"params": params["network"]}, u, t, train=False)
            residual = prior.residual_fn({"prior": params}, active)(u, t)
            return raw, residual

        return jax.jit(both, compiler_options=QUICK)


@functools.cache
def load(path):
    return Fixture(path)


@pytest.fixture(params=fixtures_with("score_mixed0", "sd/*", "loss/*"))
def fixture(request):
    return load(request.param)


def assert_close(ours, theirs, relative=2e-5):
    assert ours.shape == theirs.shape
    error = np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()
    assert error < relative, error


def test_output_scores_and_flow(fixture):
    sde = fixture.prior.sde
    u, t = nhwc(fixture.arrays["u"]), jnp.asarray(fixture.arrays["t"], jnp.float32)
    raw, residual = fixture.run(fixture.params, u, t)
    assert_close(raw, nhwc(fixture.arrays["raw"]))
    assert_close(sde.score(raw, t), nhwc(fixture.arrays["score_mixed0"]))
    # Of an added base, as the config has it.
    score = sde.score(sde.normal_eps(u, t) + residual, t)
    assert_close(score, nhwc(fixture.arrays["score_mixed1"]), 1e-4)
    velocity = sde.probability_flow(u, t, residual)
    assert_close(-velocity, nhwc(fixture.arrays["pf_drift_at_t"]), 1e-4)


def test_loss_and_gradients(fixture):
    """Of the config's objective: hybrid score matching, unweighted."""
    prior, arrays = fixture.prior, fixture.arrays
    z0, eps = nhwc(arrays["loss/x"]), nhwc(arrays["loss/noise"])
    rho = jnp.asarray(arrays["loss/rho_t"], jnp.float32)
    t, _ = prior.time_sampler.times(prior.sde, rho)
    active = {"prior": {"active": jnp.ones(z0.shape[-1])}}

    def loss(params):
        u = prior.sde.perturb(z0, t, eps)
        predicted = prior.sde.normal_eps(u, t) + prior.residual_fn(
            {"prior": params}, active
        )(u, t)
        error = (prior.sde.noised(eps) - predicted) ** 2
        per_image = jnp.sum(error, (1, 2, 3))
        return jnp.mean(per_image), per_image

    run = jax.jit(jax.grad(loss, has_aux=True), compiler_options=QUICK)
    gradients, per_image = run(fixture.params)
    assert_close(per_image, arrays["loss/hsm_reweightedv2"], 1e-4)
    rules = ncsnpp_names.entries(fixture.tree, fir=fixture.fir, numbered=True)
    names = {rule.path: rule.name for rule in rules}
    flat = {names[path]: g for path, g in flatten_dict(gradients).items()}
    ours = {name: float(jnp.linalg.norm(g)) for name, g in flat.items()}
    assert ours.pop("all_modules.0.W", 0.0) == 0
    stored = json.loads(str(arrays["loss/grad_names"]))
    expected = dict(zip(stored, arrays["loss/grad_norms"], strict=True))
    assert ours.keys() == expected.keys()
    total = float(np.linalg.norm(list(expected.values())))
    # What is left, 5e-5, is the phase 2 pi w log t of the features: in float32, log t
    # is known to 2e-7, and w reaches 40. Biases of keys have no gradient at all.
    for name, norm in expected.items():
        np.testing.assert_allclose(ours[name], norm, rtol=1e-4, atol=1e-6 * total)


def test_state_dict_survives_the_round_trip(fixture):
    back = ncsnpp_names.write(fixture.tree, fir=fixture.fir, numbered=True)
    assert list(back) == json.loads(str(fixture.arrays["sd_key_order"]))
    for name, tensor in fixture.state.items():
        np.testing.assert_array_equal(back[name], tensor)

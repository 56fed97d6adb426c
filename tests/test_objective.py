"""A prior that is trained alone needs no decoder."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import elbo
from lsgm.distributions import LogisticLikelihood
from lsgm.networks.conv import ConvVAE
from lsgm.networks.nvae import NVAE
from lsgm.training import state as states
from lsgm.training.step import group_gradients
from lsgm.vae import VAE
from tests import small

STAGE = small.stage(optimizers={"prior": small.Descent()}, regularization={})
NVAE_OF_TWO_SCALES = VAE(
    network=NVAE(
        base_channels=4,
        channel_mult=(1, 1, 1),
        num_scales=2,
        groups_per_scale=2,
        latents_per_group=2,
        num_flows=1,
        num_outputs=6,
        preprocess_cells=1,
        postprocess_cells=1,
    ),
    likelihood=LogisticLikelihood(num_bits=5),
    data_shape=(8, 8, 3),
)
CONV = VAE(
    network=ConvVAE(channels=(4, 4), latent_channels=4, num_outputs=6),
    likelihood=LogisticLikelihood(num_bits=5),
    data_shape=(8, 8, 3),
)
TERMS = {"reconstruction", "neg_entropy", "cross_entropy", "nelbo"}
VAES = {"nvae": NVAE_OF_TWO_SCALES, "conv": CONV, "small": small.vae()}


@functools.cache
def setting(name):
    """Objective, state, data, draws."""
    vae = VAES[name]
    objective = STAGE.objective(vae)
    params, mutables = objective.init(jax.random.key(0))
    state = states.create(
        jax.random.key(1), params, mutables, STAGE.transformations(), ()
    )
    levels = np.random.default_rng(0).integers(0, 2, (4, *vae.data_shape))
    x = vae.preprocess({"levels": jnp.asarray(levels, jnp.uint8)})
    return objective, state, x, objective.draw(jax.random.key(2), 4)


@pytest.mark.parametrize("name", VAES)
def test_encoded_latents_are_those_of_the_whole_pass(name):
    objective, state, x, draws = setting(name)
    vae, own = objective.model.vae, (state.params["vae"], state.mutables["vae"])
    encoded = jax.jit(vae.encode)(*own, x, draws.noise)
    whole = jax.jit(functools.partial(vae.infer, train=False))(*own, x, draws.noise)
    np.testing.assert_array_equal(encoded.z0, vae.join(whole.z))
    np.testing.assert_array_equal(encoded.log_q, vae.join(whole.log_q))


@pytest.mark.parametrize("name", VAES)
def test_loss_and_gradient_are_those_with_the_decoder_run(name, monkeypatch):
    """To the bit: the same update, and one in which the whole bound is computed."""
    objective, state, x, draws = setting(name)

    def update(state):
        return group_gradients(objective, state, ("prior",), x, draws, None)

    def compiled():
        return jax.jit(lambda s: update(s), compiler_options=small.QUICK)(state)

    losses, gradients, aux = compiled()
    found: list[elbo.Bound] = []

    def whole(*held, step, cond):
        found.append(elbo.bound(*held, step=step, train_prior=True, cond=cond))
        return found[-1].prior_terms._replace(
            metrics={"decoded": jnp.mean(found[-1].reconstruction)}
        )

    monkeypatch.setattr(elbo, "prior_alone", whole)
    losses_whole, gradients_whole, aux_whole = compiled()
    assert aux_whole.metrics["decoded"] > 0
    jax.tree.map(np.testing.assert_array_equal, losses, losses_whole)
    jax.tree.map(np.testing.assert_array_equal, gradients, gradients_whole)
    assert not TERMS & set(aux.metrics)


def test_nothing_behind_the_last_latent_is_computed():
    """The gradient of what is encoded reaches no parameter of the rest."""
    objective, state, x, draws = setting("nvae")
    own = state.params["vae"]

    def total(params):
        encoded = objective.model.vae.encode(
            params, state.mutables["vae"], x, draws.noise
        )
        return jnp.sum(encoded.z0**2)

    reached = {
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(
            jax.jit(jax.grad(total))(own)
        )
        if np.any(leaf)
    }
    behind = ("head", "post_", "merge_1", "posterior_2", "decoder']['tower_1")
    assert not [path for path in reached if any(name in path for name in behind)]
    assert any("merge_0" in path for path in reached)
    assert any("posterior_1" in path for path in reached)


def test_as_published_everything_runs():
    published = dataclasses.replace(STAGE, reference_compatible=True)
    objective = published.objective(small.vae())
    params, mutables = small.variables()
    x = objective.model.vae.preprocess(small.batch())
    _, aux = jax.jit(objective.__call__, compiler_options=small.QUICK)(
        params, mutables, x, objective.draw(jax.random.key(1), 4), jnp.int32(0)
    )
    assert set(aux.metrics) >= TERMS

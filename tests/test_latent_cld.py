"""CLD as the diffusion of latents, trained together with a VAE by its exact bound."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lsgm.networks.embeddings import Positional
from lsgm.networks.mlp import MLP
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.cld import CLD
from tests import small

STEPS = 80


def make(sde, encoder_times):
    width = small.vae().prior_shape[-1]
    network = MLP(width=16, depth=1, out_channels=width, embedding=Positional(dim=8))
    prior = small.prior(
        sde=sde,
        network=network,
        sampler=ProbabilityFlow(t_end=1e-3, denoise="drift"),
        encoder_times=encoder_times,
        mixing_logit_init=-2.0,
    )
    return small.stage(prior=prior, regularization={}, balance_kl=False)


@pytest.mark.parametrize(
    ("gamma", "encoder_times"),
    [(1.0, None), pytest.param(0.04, small.TIMES, marks=pytest.mark.slow)],
    ids=["one draw", "own draws"],
)
def test_joint_training_lowers_the_bound(gamma, encoder_times):
    """And the encoder takes part: its own parameters move with the prior's."""
    stage = make(CLD(gamma=gamma), encoder_times)
    objective = stage.objective(small.vae())
    levels = np.random.default_rng(0).integers(0, 2, (16, small.SIZE, small.SIZE, 1))
    x = objective.model.vae.preprocess({"levels": jnp.asarray(levels, jnp.uint8)})
    optimizer = optax.adam(1e-2)

    def losses(params, mutables, key):
        draws = objective.draw(key, len(x))
        found, aux = objective(params, mutables, x, draws, jnp.int32(10))
        return found, aux

    def step(carry, key):
        params, state, mutables = carry
        found, pull, aux = jax.vjp(
            lambda p: losses(p, mutables, key), params, has_aux=True
        )
        one, zero = jnp.ones(()), jnp.zeros(())
        by_group = {
            g: pull({h: one if h == g else zero for h in found})[0][g] for g in found
        }
        updates, state = optimizer.update(by_group, state)
        params = optax.apply_updates(params, updates)
        return (params, state, aux.mutables), aux.metrics["nelbo"]

    @jax.jit
    def train(key):
        first, second = jax.random.split(key)
        params, mutables = objective.init(first)
        keys = jax.random.split(second, STEPS)
        start = (params, optimizer.init(params), mutables)
        (after, _, _), nelbos = jax.lax.scan(step, start, keys)
        return params, after, nelbos

    with jax.numpy_dtype_promotion("standard"):  # for optax
        before, after, nelbos = train(jax.random.key(1))
    assert np.all(np.isfinite(nelbos))
    assert np.mean(nelbos[-20:]) < np.mean(nelbos[:10]) - 3
    for group in ("vae", "prior"):
        moved = jax.tree.map(
            lambda a, b: float(jnp.max(jnp.abs(a - b))), before[group], after[group]
        )
        assert max(jax.tree.leaves(moved)) > 1e-2

"""Score networks on images have the published numbers of parameters."""

import importlib
import math

import jax
import pytest

from lsgm.config import build

# Counted on the published networks; millions, rounded there.
COUNTS = {
    ("cifar10.cld", "full"): 107.6,
    ("celeba_hq_256.cld", "full"): 103.1,
    ("celeba_hq_256.cld", "paper"): 65.5,
    ("cifar10.vpsde", "full"): 61.8,
    ("cifar10.subvpsde", "full"): 61.8,
    ("cifar10.vesde", "full"): 62.8,
    ("cifar10.vesde", "deep"): 107.6,
}
FAST = {("celeba_hq_256.cld", "paper")}


@pytest.mark.parametrize(
    ("recipe", "variant"),
    [
        pytest.param(*case, marks=() if case in FAST else pytest.mark.slow)
        for case in COUNTS
    ],
)
def test_parameters(recipe, variant):
    module = importlib.import_module(f"configs.{recipe}")
    config = module.get_config(variant).to_dict()
    prior = build(config["stages"]["prior"]["prior"], "prior")
    shape = config["vae"]["data_shape"]
    shapes = jax.eval_shape(lambda: prior.init(jax.random.key(0), shape))[0]
    found = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    assert found / 1e6 == pytest.approx(COUNTS[recipe, variant], abs=0.05)

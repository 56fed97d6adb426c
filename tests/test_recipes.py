"""The published recipes: parameters by part, regularised layers, latents, lengths."""

import functools
import importlib
import math

import jax
import jax.numpy as jnp
import pytest

from lsgm.config import build
from lsgm.interop.nvae_names import layers
from lsgm.runs import experiment
from lsgm.runs.train import inherit
from lsgm.training import state as states

# Counted on the published networks: stem, pre-processing, encoder tower, pyramid,
# samplers, flows, latent convolutions, decoder tower, post-processing, head, start.
PARTS = (
    "stem pre_process enc_tower progressive_input_cells enc_sampler nf_cells eps_conv "
    "dec_tower post_process image_conditional prior_ftr0"
).split()
# fmt: off
CIFAR_20 = (3712, 1226392, 48861312, 0, 830160, 0, 14940, 48973440, 776848, 115400,
            65536)
VAE = {
    "cifar10.balanced": CIFAR_20,
    "cifar10.best_fid": CIFAR_20,
    "cifar10.best_nll": (7424, 6088256, 57861504, 0, 1659600, 2062080, 73260, 58216832,
                         4292144, 230600, 131072),
    "mnist.lsgm": (704, 1293352, 612880, 0, 92320, 0, 7280, 481552, 508964, 578, 8192),
    "omniglot.lsgm": (704, 307532, 2716360, 0, 138480, 0, 10920, 2051784, 125064, 578,
                      32768),
    "celeba_hq_256.quantitative": (1856, 153864, 26799832, 369792, 1292160, 2618880,
                                   87360, 19586764, 66120, 57800, 262144),
    "celeba_hq_256.qualitative": (1856, 153864, 7883512, 74112, 692800, 2182400, 72800,
                                  6079988, 66120, 57800, 524288),
}
# Parameters of the VAE; convolutions and normalisations under its regulariser.
TOTALS = {
    "cifar10.balanced": (100867740, 254, 168),
    "cifar10.best_fid": (100867740, 254, 168),
    "cifar10.best_nll": (130622772, 130, 60),
    "mnist.lsgm": (3005822, 59, 48),
    "omniglot.lsgm": (5384190, 73, 66),
    "celeba_hq_256.quantitative": (51296572, 662, 314),
    "celeba_hq_256.qualitative": (17789540, 547, 259),
}
# By stage: parameters of the prior, mixing logits included, and convolutions under
# its regulariser.
PRIOR = {
    "cifar10.balanced": {"lsgm": (375561064, 0)},
    "cifar10.best_fid": {"lsgm": (375561064, 0)},
    "cifar10.best_nll": {"lsgm": (375561064, 147)},
    "mnist.lsgm": {"lsgm": (63774544, 0)},
    "omniglot.lsgm": {"lsgm": (97804152, 147)},
    "celeba_hq_256.quantitative": {"lsgm": (408367680, 197)},
    "celeba_hq_256.qualitative": {"lsgm": (440116368, 246), "prior": (680827984, 246)},
}
# Deepest scale first.
LATENTS = {
    "cifar10.balanced": [20 * [(16, 16, 9)]],
    "cifar10.best_fid": [20 * [(16, 16, 9)]],
    "cifar10.best_nll": [4 * [(16, 16, 45)]],
    "mnist.lsgm": [2 * [(8, 8, 20)]],
    "omniglot.lsgm": [3 * [(16, 16, 20)]],
    "celeba_hq_256.quantitative": [8 * [(n, n, 20)] for n in (32, 64, 128)],
    "celeba_hq_256.qualitative": [10 * [(n, n, 20)] for n in (64, 128)],
}
# By stage: updates, and the KL coefficient at their start, half, and end.
LENGTHS = {
    "cifar10.balanced": {"vae": (117000, 1e-4, 1, 1), "lsgm": (365625, 1, 1, 1)},
    "cifar10.best_fid": {"vae": (78000, 1e-4, 0.35, 0.7), "lsgm": (365625, 0.7, 1, 1)},
    "cifar10.best_nll": {"vae": (78000, 1e-4, 0.35, 0.7), "lsgm": (365625, 0.7, 1, 1)},
    "mnist.lsgm": {"vae": (60000, 1e-4, 0.35, 0.7), "lsgm": (374400, 0.7, 1, 1)},
    "omniglot.lsgm": {"vae": (38000, 1e-4, 0.5, 1), "lsgm": (285000, 0.7, 1, 1)},
    "celeba_hq_256.quantitative": {
        "vae": (84400, 1e-4, 0.5, 1), "lsgm": (422000, 1, 1, 1),
    },
    "celeba_hq_256.qualitative": {
        "vae": (84400, 1e-4, 0.5, 1),
        "lsgm": (422000, 0.7, 1, 1),
        "prior": (421500, 1, 1, 1),
    },
}
# By recipe or data set, stage and group: epochs of warm-up, highest rate, last rate.
FIRST = {("vae", "vae"): (5, 1e-2, 1e-4)}
RATES = {
    "cifar10": FIRST
    | {("lsgm", "vae"): (5, 1e-4, 1e-5), ("lsgm", "prior"): (5, 1e-4, 1e-4)},
    "mnist": FIRST
    | {("lsgm", "vae"): (20, 1e-4, 1e-5), ("lsgm", "prior"): (20, 3e-4, 3e-4)},
    "omniglot": FIRST
    | {("lsgm", "vae"): (20, 1e-4, 1e-5), ("lsgm", "prior"): (20, 3e-4, 3e-4)},
    "celeba_hq_256.quantitative": FIRST
    | {("lsgm", "vae"): (20, 1e-4, 1e-5), ("lsgm", "prior"): (20, 1e-4, 1e-4)},
    "celeba_hq_256.qualitative": FIRST
    | {
        ("lsgm", "vae"): (20, 8e-5, 1e-5),
        ("lsgm", "prior"): (20, 1e-4, 1e-4),
        ("prior", "prior"): (20, 6e-5, 6e-5),
    },
}
# fmt: on
FAST = ("mnist.lsgm", "omniglot.lsgm")


def slow_but(fast, cases):
    """Test parameters; those of recipes that take long to trace are slow."""
    return [
        pytest.param(*case, id="-".join(case))
        if case[0] in fast
        else pytest.param(*case, id="-".join(case), marks=pytest.mark.slow)
        for case in cases
    ]


@functools.cache
def config(recipe):
    return importlib.import_module(f"configs.{recipe}").get_config()


@functools.cache
def opened(recipe):
    """The recipe's experiment, without its data and its extractor's weights."""
    with pytest.MonkeyPatch.context() as patch:
        for check in ("check_data", "_check_weights"):
            patch.setattr(experiment, check, lambda made: None)
        return experiment.from_config(config(recipe))


@functools.cache
def shapes(recipe, stage):
    made = opened(recipe)
    return jax.eval_shape(made.stages[stage].objective(made.vae).init, KEY)


KEY = jax.eval_shape(lambda: jax.random.key(0))


def size_of(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def regularised_convs(mutables):
    """Power iteration keeps one u for each kernel, stacked by matrix shape."""
    return sum(u.shape[0] for u, _ in mutables.get("spectral", {}).values())


@pytest.mark.parametrize("recipe", slow_but(FAST, [(r,) for r in VAE]))
def test_vae_has_the_published_size(recipe):
    params, mutables = shapes(recipe, "lsgm")
    vae, total = params["vae"], TOTALS[recipe]
    parts = dict.fromkeys(PARTS, 0) | {"prior_ftr0": size_of(vae["decoder"]["start"])}
    for layer in layers(opened(recipe).vae.network):
        tree = functools.reduce(lambda t, name: t[name], layer.path, vae)
        parts[layer.published.split(".")[0]] += size_of(tree)
    assert tuple(parts.values()) == VAE[recipe]
    norms = len(jax.tree.leaves(mutables["vae"]["batch_stats"])) // 2
    found = (size_of(vae), regularised_convs(mutables["vae"]), norms)
    assert found == total


@pytest.mark.parametrize(
    "recipe, stage", slow_but(FAST, [(r, s) for r in PRIOR for s in PRIOR[r]])
)
def test_prior_has_the_published_size(recipe, stage):
    params, mutables = shapes(recipe, stage)
    found = (size_of(params["prior"]), regularised_convs(mutables["prior"]))
    assert found == PRIOR[recipe][stage]


@pytest.mark.parametrize("recipe", LATENTS)
def test_latents_have_the_published_shapes(recipe):
    found = opened(recipe).vae.latent_shapes
    assert [list(scale) for scale in found] == LATENTS[recipe]


@pytest.mark.parametrize("recipe", LENGTHS)
def test_stages_have_the_published_lengths(recipe):
    made = opened(recipe)
    assert made.stage_order == tuple(LENGTHS[recipe])
    for name, (num_steps, *coeffs) in LENGTHS[recipe].items():
        stage = made.stages[name]
        assert stage.num_steps == num_steps
        for place, coeff in zip((0, num_steps // 2, num_steps), coeffs, strict=True):
            # The first 1e-4 of a first stage stay where they start.
            assert float(stage.kl(jnp.int32(place))) == pytest.approx(coeff, rel=2e-4)


@pytest.mark.parametrize("recipe", LENGTHS)
def test_learning_rates_warm_up_and_end_as_published(recipe):
    rates = RATES.get(recipe) or RATES[recipe.split(".")[0]]
    for stage, spec in config(recipe).stages.items():
        for group, optimizer in spec.optimizers.items():
            warmup_epochs, peak, end = rates[stage, group]
            rate = build(optimizer.lr)
            half = warmup_epochs * rate.steps_per_epoch / 2
            assert float(rate(0)) == 0
            assert float(rate(half)) == pytest.approx(peak / 2, rel=1e-6)
            assert float(rate(spec.num_steps - 1)) == pytest.approx(end, rel=1e-6)


@pytest.mark.slow
def test_third_stage_takes_the_vae_and_a_prior_of_its_own():
    recipe = "celeba_hq_256.qualitative"
    stages = opened(recipe).stages

    def begin(name):
        params, mutables = shapes(recipe, name)
        stage, key = stages[name], jax.random.key(0)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), (params, mutables))
        return states.create(key, *zeros, stage.transformations(), stage.averaged)

    def third():
        return inherit(begin("prior"), begin("lsgm"), stages["prior"])

    state = jax.eval_shape(third)
    assert size_of(state.params["prior"]) == size_of(state.ema["prior"]) == 680827984
    assert size_of(state.params["vae"]) == 17789540
    assert "vae" not in state.opt


def test_groups_that_start_anew_are_not_inherited():
    stage = opened("celeba_hq_256.qualitative").stages["prior"]
    key, optimizers = jax.random.key(0), stage.transformations()

    def state(value):
        params = {g: {"w": jnp.full(2, value)} for g in ("vae", "prior")}
        return states.create(key, params, params, optimizers, stage.averaged)

    found = inherit(state(1.0), state(2.0), stage)
    for tree in (found.params, found.mutables):
        assert float(tree["vae"]["w"][0]) == 2.0
        assert float(tree["prior"]["w"][0]) == 1.0

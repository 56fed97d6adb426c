"""Steps that cost the same, schedules that keep their shape, sizes."""

import jax
import pytest

from lsgm.config import plain
from lsgm.studies import budget
from lsgm.studies.study import replaced
from tests import tiny


def forget():
    budget.shapes.cache_clear()
    budget.flop.cache_clear()


@pytest.fixture
def flop(monkeypatch):
    """A step costs as many FLOP as the stage's batch has examples, plus a thousand
    for each channel of the VAE."""

    def step_flop(stage, vae, state, batch_size):
        return batch_size * 1000.0 * vae.network.latent_channels

    monkeypatch.setattr(budget, "abstract_state", lambda stage, vae: None)
    monkeypatch.setattr(budget, "step_flop", step_flop)
    forget()
    yield
    forget()


def base():
    config = plain(tiny.config(num_steps=100, batch_size=8))
    config["stages"]["vae"]["optimizers"]["vae"]["lr"] = {
        "target": "lsgm.training.optim:WarmupCosine",
        "peak": 1e-3,
        "end": 1e-4,
        "num_steps": 100,
        "warmup_steps": 5,
    }
    return config


def test_steps_times_flop_are_the_bases(flop):
    dear = replaced(base(), "vae.network.latent_channels", 8, "")
    cheap = replaced(base(), "stages.lsgm.batch_size", 4, "")
    for config in (dear, cheap):
        found = budget.matched(config, base())
        for name in ("vae", "lsgm"):
            steps = found["stages"][name]["num_steps"]
            cost = budget.flop(budget.step(found, name)) * steps
            there = budget.flop(budget.step(base(), name)) * 100
            assert cost == pytest.approx(there)
    assert budget.matched(dear, base())["stages"]["vae"]["num_steps"] == 25
    assert budget.matched(cheap, base())["stages"]["lsgm"]["num_steps"] == 200


def test_whole_trainings_cost_the_same_where_stages_differ(flop):
    """One stage instead of two, of another name and cost."""
    config = replaced(base(), "vae.network.latent_channels", 8, "")
    alone = {**config["stages"]["lsgm"], "batch_size": 16, "num_steps": 40}
    config |= {"stage_order": ("alone",), "stages": {"alone": alone}}
    found = budget.matched_in_total(config, base())
    (stage,) = found["stages"].values()
    # 2 stages x 100 steps x 8 x 2,000 FLOP, by 16 x 8,000 FLOP a step.
    assert stage["num_steps"] == 25
    assert stage["sample_every"] == round(alone["sample_every"] * 25 / 40)
    both = budget.matched_in_total(base(), base())["stages"]
    assert [both[name]["num_steps"] for name in ("vae", "lsgm")] == [100, 100]


def test_schedules_are_scaled_along_and_samplers_are_not(flop):
    dear = replaced(base(), "vae.network.latent_channels", 8, "")
    found = budget.matched(dear, base())["stages"]
    rate = found["vae"]["optimizers"]["vae"]["lr"]
    assert (rate["num_steps"], rate["warmup_steps"], rate["peak"]) == (25, 1, 1e-3)
    assert found["vae"]["kl"]["anneal_steps"] == 1
    assert found["vae"]["kl"]["const_steps"] == 0
    assert found["lsgm"]["prior"]["sampler"]["num_steps"] == 3
    assert found["lsgm"]["log_every"] == 2


def test_steps_that_are_one_computation_are_counted_once(flop):
    one = budget.step(base(), "vae")
    longer = budget.stretched(base()["stages"]["vae"], 7.0)
    same = budget.step(replaced(base(), "stages.vae", longer, ""), "vae")
    assert same == one and hash(same) == hash(one)
    for key, value in (
        ("vae.network.latent_channels", 8),
        ("stages.vae.batch_size", 4),
        ("stages.vae.optimizers.vae.lr.peak", 2e-3),
    ):
        assert budget.step(replaced(base(), key, value, ""), "vae") != one
    assert budget.step(base(), "lsgm") != one


def test_sizes_are_those_of_the_last_stage(flop):
    config = base()
    size = budget.sizes(config)
    made = budget.experiment.described(config)
    init = made.stages["lsgm"].objective(made.vae).init
    params, _ = jax.eval_shape(init, jax.random.key(0))
    assert set(params) == {"vae", "prior"}
    assert size.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    dims = sum(h * w * c for scale in made.vae.latent_shapes for h, w, c in scale)
    assert size.latent_dims == size.prior_dims == dims
    assert size.train_flop == pytest.approx(2 * 100 * 8 * 2 * 1000)

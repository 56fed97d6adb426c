"""Every study that is shipped: its points can be built, in full and in small."""

import importlib
import pathlib

import jax
import pytest

from lsgm.runs import experiment
from lsgm.studies import budget, study
from tests.studies.test_budget import forget

ROOT = pathlib.Path(__file__).parents[1]
STUDIES = {
    ".".join(path.with_suffix("").parts[-2:]): ("full", "smoke")
    for folder in ("ablations", "comparisons")
    for path in sorted((ROOT / "configs" / folder).glob("*.py"))
    if path.stem not in ("__init__", "common")
} | {
    "ablations.latent_resolution": ("cpu", "smoke", "celeba_hq_256"),
    "comparisons.three_systems": ("cpu", "smoke"),
}
CASES = [(name, variant) for name, variants in STUDIES.items() for variant in variants]


def runs(name: str, variant: str) -> list[study.StudyRun]:
    module = importlib.import_module(f"configs.{name}")
    found = study.runs(study.from_config(module.get_config(variant)))
    return [run for run in found if run.seed == found[0].seed]


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """A step's cost without lowering it."""
    monkeypatch.setattr(budget, "abstract_state", lambda stage, vae: None)
    monkeypatch.setattr(budget, "step_flop", lambda stage, vae, state, num: 1.0)
    forget()
    yield
    forget()


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_every_point_builds(name, variant):
    names = [run.name for run in runs(name, variant)]
    assert len(set(names)) == len(names) > 1
    for run in runs(name, variant):
        made = experiment.described(run.config)
        assert made.vae.prior_shape[0] >= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_point_has_shapes(name):
    for run in runs(name, "smoke"):
        made = experiment.from_config(run.config)
        for stage in made.stages.values():
            jax.eval_shape(stage.objective(made.vae).init, jax.random.key(0))


def test_latents_are_where_their_label_says():
    for run in runs("ablations.latent_resolution", "cpu"):
        made = experiment.described(run.config)
        size, channels = run.labels["resolution"], run.labels["channels"]
        assert made.vae.prior_shape == (*map(int, size.split("x")), int(channels))
    for run in runs("ablations.latent_resolution", "celeba_hq_256"):
        made = experiment.described(run.config)
        sizes = [scale[0][0] for scale in made.vae.latent_shapes]
        ends = [int(size) for size in run.labels["scales"].split("-")]
        assert (max(sizes), min(sizes)) == (ends[0], ends[-1])


def test_prior_models_the_scales_of_its_label():
    shapes = {"4x4": (4, 4, 2), "8x8": (8, 8, 2), "both": (4, 4, 2 + 4 * 2)}
    for run in runs("ablations.prior_scales", "full"):
        vae = experiment.described(run.config).vae
        assert vae.prior_shape == shapes[run.labels["prior"]]


def test_two_stages_cost_what_joint_training_does(monkeypatch):
    """A step that trains a VAE costs thrice one that does not."""

    def step_flop(stage, vae, state, num):
        return 3.0 if "vae" in stage.optimizers else 1.0

    monkeypatch.setattr(budget, "step_flop", step_flop)
    together, apart = runs("ablations.end_to_end", "full")
    costs = [budget.sizes(run.config).train_flop for run in (together, apart)]
    assert costs[1] == pytest.approx(costs[0], rel=2e-3)
    steps = [
        {name: stage["num_steps"] for name, stage in run.config["stages"].items()}
        for run in (together, apart)
    ]
    assert steps[1]["vae"] > steps[0]["vae"] and steps[1]["lsgm"] > steps[0]["lsgm"]
    assert apart.config["stages"]["vae"]["kl"]["coeff_max"] == 1.0


def test_an_unknown_variant_is_refused():
    for name, variants in STUDIES.items():
        with pytest.raises(ValueError, match=f"allowed are {', '.join(variants)}"):
            runs(name, "smok")

"""Every config builds, in full and in small, and wrong ones fail in words."""

import importlib
import math
import pathlib
import time

import jax
import pytest

from configs.pieces import piece
from lsgm.config import ConfigError
from lsgm.features.weights_file import WeightsError
from lsgm.runs import experiment
from tests import tiny

ROOT = pathlib.Path(__file__).parents[1]
HELPERS = ("__init__", "common", "data_space", "paper", "pieces", "recipe", "resolved")
HELPERS += ("denoising_gan", "twin")
RUNS = [
    path.relative_to(ROOT)
    for path in sorted((ROOT / "configs").rglob("*.py"))
    if path.stem not in HELPERS and path.parent.name not in ("ablations", "comparisons")
]


# Recipes at full size are built by ``test_recipes``, in small they differ little.
SMALL = ("demo", "small", "laptop")
QUICK = {("demo", "full"), ("laptop", "full")} | {
    (stem, "smoke") for stem in (*SMALL, "lsgm")
}
CASES = [
    pytest.param(
        path,
        variant,
        id=f"{path}-{variant}",
        marks=()
        if (path.stem, variant) in QUICK or path.parent.name == "toy2d"
        else pytest.mark.slow,
    )
    for path in RUNS
    for variant in ("full", "smoke")
    if variant == "smoke" or path.stem in SMALL
]
CASES += [
    pytest.param(
        pathlib.Path("configs/celeba_hq_256/quantitative.py"),
        twin,
        id=twin,
        marks=pytest.mark.slow,
    )
    for twin in ("twin32", "twin64")
]


def load(path: pathlib.Path, variant: str):
    module = ".".join(path.with_suffix("").parts)
    return importlib.import_module(module).get_config(variant)


@pytest.mark.parametrize("path, variant", CASES)
def test_config_builds_and_its_parameters_have_shapes(path, variant, monkeypatch):
    for what_must_be_there in ("check_data", "_check_weights"):
        monkeypatch.setattr(experiment, what_must_be_there, lambda made: None)
    made = experiment.from_config(load(path, variant))
    for stage in made.stages.values():
        params, _ = jax.eval_shape(stage.objective(made.vae).init, jax.random.key(0))
        assert "vae" in params


@pytest.mark.parametrize("path", RUNS, ids=str)
def test_config_refuses_an_unknown_variant(path):
    allowed = (
        "diamond, gaussians, moons, swiss_rolls" if "toy2d" in str(path) else "full"
    )
    with pytest.raises(ValueError, match=f"allowed are {allowed}, smoke"):
        load(path, "smok")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("stages.lsgm.batch_size", 3, "divisible by the number of devices"),
        ("stages.lsgm.batch_size", 8000, "4000 examples"),
        ("stages.lsgm.num_steps", "many", "expected int"),
        ("stages.lsgm.num_steps", 0, "at least 1"),
        ("vae.data_shape", (28, 28, 3), "num_outputs"),
        ("vae.padding", 1, "padding|multiple|halv"),
        ("stage_order", ("vae", "lsgmm"), "did you mean 'lsgm'"),
        (
            "stages.lsgm.prior.sde.target",
            "lsgm.sdes.vpsde:VPSD",
            "did you mean 'VPSDE'",
        ),
        ("stages.lsgm.prior.network.channels", 130, "multiple of 4"),
        ("stages.lsgm.prior.network.out_channels", 0, ">= 1, or None"),
        ("stages.lsgm.prior.time_sampler.t_min", 2.0, r"\[0, 1\)"),
        ("evaluation.split", "tset", "did you mean 'test'"),
        ("evaluation.measures.0.num_examples", 501, "'test' holds 500"),
        ("evaluation.measures.4.num_examples", 501, "'test' holds 500"),
        ("evaluation.measures.1.num_examples", 501, "'test' holds 500"),
        ("evaluation.monitor_examples", 501, "'validation' holds 500"),
        ("evaluation.num_samples", -1, "at least 1"),
        ("evaluation.temperature", -1.0, "finite and at least 0"),
        ("evaluation.temperature", math.nan, "a finite number"),
        ("seed", -1, "must lie in 0"),
        ("seed", 2**32, "must lie in 0"),
        ("seed", True, "expected int"),
        ("stages.lsgm.num_steps", True, "expected int"),
        ("stages.lsgm.drop_inactive", math.nan, "a finite number"),
        ("stages.lsgm.regularization.vae.spectral", math.nan, "a finite number"),
        ("stages.lsgm.optimizers.vae.lr", math.inf, "a finite number"),
        ("stages.lsgm.prior.mixing_logit_init", math.nan, "a finite number"),
        ("stages.lsgm.prior", None, "expected lsgm.priors.base.Prior"),
        ("stages.lsgm.prior", piece("sdes.vpsde:VPSDE"), "it has no groups, phases"),
        ("stages.lsgm.prior.network", piece("sdes.vpsde:VPSDE"), "expected .*Module"),
        ("stages.lsgm.optimizers.vae", piece("training.optim:Ema"), "has no build"),
        ("vae.network", piece("networks.mlp:MLP"), "network: MLP has no num_outputs"),
        ("vae.likelihood", piece("sdes.vpsde:VPSDE"), "expected .*Likelihood"),
        (
            "evaluation.extractor",
            piece("training.optim:Ema"),
            "extractor: Ema has no name, dim",
        ),
        ("stage_order", ("vae", "vae"), "'vae' is there twice"),
        ("stage_order", (), "name at least one stage"),
    ],
)
def test_impossible_value_names_key_value_and_what_is_allowed(key, value, message):
    config = tiny.config().to_dict()
    *path, name = key.split(".")
    place = config
    for part in path:
        place = place[int(part) if isinstance(place, tuple) else part]
    place[name] = value
    start = time.monotonic()
    with pytest.raises(ConfigError, match=message) as error:
        experiment.from_config(config)
    assert time.monotonic() - start < 5
    assert error.value.key.split(".")[0] in key


@pytest.mark.parametrize(
    "name", ["../../escaped", "/abs", "a/b", "", "a b", "samples", "1"]
)
def test_a_stage_that_would_leave_its_folder_is_refused(name):
    config = tiny.config().to_dict()
    config["stages"][name] = config["stages"].pop("lsgm")
    config["stage_order"] = ("vae", name)
    with pytest.raises(ConfigError, match="expected a name|choose another") as error:
        experiment.described(config)
    assert error.value.key == "stages" and f"= {name!r}" in str(error.value)


def test_the_best_state_is_chosen_by_a_split_that_is_there():
    config = tiny.config().to_dict()
    config["evaluation"]["selection_split"] = "trian"
    made = experiment.described(config)
    experiment.check_data(made)  # nothing is chosen
    config["evaluation"]["extractor"] = piece("features.classifier:ClassifierFeatures")
    config["stages"]["lsgm"]["keep_best"] = True
    with pytest.raises(ConfigError, match="did you mean 'train'") as error:
        experiment.check_data(experiment.described(config))
    assert error.value.key == "evaluation.selection_split"


def test_unknown_key_is_refused_with_the_nearest_spelling():
    config = tiny.config()
    with config.unlocked():
        config.stages.lsgm.num_step = 3
    with pytest.raises(ConfigError, match="did you mean 'num_steps'"):
        experiment.from_config(config)


def test_a_run_that_is_judged_needs_its_extractor_before_it_starts(tmp_path):
    """Not after days of training."""
    config = tiny.config()
    config.stages.lsgm.keep_best = True
    with pytest.raises(ConfigError, match=r"stages.lsgm.keep_best = True: needs"):
        experiment.from_config(config)
    missing = str(tmp_path / "none.pth")
    config.evaluation.extractor = piece(
        "features.inception:InceptionFeatures", weights=missing
    )
    with pytest.raises(WeightsError, match="none.pth: no such file"):
        experiment.from_config(config)
    config.stages.lsgm.keep_best = False
    assert experiment.from_config(config)
    config.evaluation.ledger = piece("reports.ledger:Ledger", source="a paper")
    with pytest.raises(WeightsError, match="none.pth: no such file"):
        experiment.from_config(config)

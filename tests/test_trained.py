"""Models in Python: what goes in and out; checkpoints that come with the package."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import lsgm
from configs import demo
from lsgm.runs import experiment, packaged, restore
from lsgm.samplers.ddim import DDIM
from lsgm.samplers.residual_flow import ResidualFlow
from lsgm.trained import TrainedModel
from lsgm.training.checkpoints import CheckpointError
from tests import tiny


def untrained() -> restore.Restored:
    """The tiny model as it is initialised."""
    config = tiny.config()
    made = experiment.from_config(config)
    model = made.stages["lsgm"].objective(made.vae).model
    params, mutables = model.init(jax.random.key(0))
    return restore.Restored(
        model=model,
        params=params,
        mutables=mutables,
        experiment=made,
        stage="lsgm",
        step=0,
        folder=pathlib.Path("runs/tiny/lsgm/checkpoints/0"),
        average=False,
        meta={"config": restore.resolve(config)},
    )


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return TrainedModel(untrained())


def test_a_sample_is_a_function_of_seed_and_place(model):
    few, more = model.sample(2, seed=3), model.sample(3, seed=3)
    assert few.images.shape == (2, 28, 28, 1) and few.images.dtype == np.float32
    np.testing.assert_array_equal(few.images, more.images[:2])
    assert more.nfe.tolist() == [3, 3, 3]
    assert (model.sample(2, seed=4).images != few.images).any()
    other = model.sample(2, seed=3, sampler=DDIM(num_steps=5))
    assert other.nfe.tolist() == [5, 5]
    cold = model.sample(2, temperature=0.0).images
    np.testing.assert_array_equal(cold[0], cold[1])


def test_images_are_encoded_and_decoded(model):
    x = model.sample(2).images
    code = model.encode(x)
    assert code.z0.shape == (2, *model.restored.model.vae.prior_shape)
    levels = np.rint(x * model.restored.model.vae.likelihood.max_level).astype(int)
    np.testing.assert_array_equal(model.encode(levels).z0, code.z0)
    np.testing.assert_allclose(model.decode(code), model.decode(code.z0), atol=1e-6)
    way = model.interpolate(x[:1], x[1:], 3)
    assert way.shape == (3, 1, 28, 28, 1)
    np.testing.assert_allclose(way[0], model.decode(code)[:1], atol=0.02)


def test_bounds_are_those_of_the_solver_that_is_asked_for(model):
    x = np.zeros((2, 28, 28, 1))
    exact = model.log_prob(x)
    assert exact.nats.shape == (2,) and (exact.nats < 0).all()
    few = model.log_prob(x, flow=ResidualFlow(num_steps=10))
    assert few.nfe.tolist() == [10, 10] and (exact.nfe > 10).all()
    np.testing.assert_allclose(few.nats, exact.nats, rtol=0.01)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.sample(0), "num = 0"),
        (lambda m: m.sample(2, seed=-1), "seed = -1"),
        (lambda m: m.sample(2, temperature=-1.0), "temperature = -1"),
        (
            lambda m: m.encode(np.zeros((28, 28))),
            r"shape \(28, 28\).* \(n, 28, 28, 1\)",
        ),
        (lambda m: m.encode(np.full((1, 28, 28, 1), 1.5)), r"outside of \[0, 1\]"),
        (lambda m: m.encode(np.full((1, 28, 28, 1), 2)), "levels outside of 0 .. 1"),
        (lambda m: m.interpolate(0, 0, 1), "num = 1"),
    ],
)
def test_what_cannot_be_used_is_named(model, call, words):
    with pytest.raises(ValueError, match=words):
        call(model)


def test_a_checkpoint_of_the_package_is_what_was_written(tmp_path, monkeypatch):
    """To half precision in the kernels, and exactly elsewhere."""
    monkeypatch.setattr(packaged, "ASSETS", tmp_path)
    written = untrained()
    about = restore.about(written)
    packaged.write("tiny", written.params, written.mutables, about)
    read = lsgm.load("package:tiny").restored
    assert (read.title, read.stage, read.step) == ("package:tiny", "lsgm", 0)
    assert read.model == written.model
    jax.tree.map(np.testing.assert_array_equal, read.mutables, written.mutables)

    def compare(ours, theirs):
        if theirs.ndim > 1:
            theirs = np.asarray(theirs, np.float16)
        np.testing.assert_array_equal(ours, np.asarray(theirs, np.float32))

    jax.tree.map(compare, read.params, written.params)


def test_a_damaged_or_unknown_checkpoint_of_the_package_is_refused(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(packaged, "ASSETS", tmp_path)
    array = {"vae": {"kernel": np.ones((2, 2))}}
    file = packaged.write("tiny", array, {}, {"stage": "vae"})
    with pytest.raises(CheckpointError, match="package:big is not .* package:tiny"):
        lsgm.load("package:big")
    packed = bytearray(file.read_bytes())
    packed[-1] ^= 1
    file.write_bytes(packed)
    with pytest.raises(CheckpointError, match="its SHA-256 is another"):
        lsgm.load("package:tiny")
    file.with_suffix(".json").write_text(json.dumps([]))
    with pytest.raises(CheckpointError, match="damaged checkpoint package:tiny"):
        lsgm.load("package:tiny")


def test_importing_the_package_imports_nothing_else():
    code = "import lsgm, sys; print('jax' in sys.modules, lsgm.__version__)"
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said.split()[0] == "False"
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        lsgm.lode  # noqa: B018


def test_the_package_comes_with_a_trained_demo():
    """Small, whole, and of the config that says so."""
    model = lsgm.load("package:demo").restored
    assert (model.stage, model.step, model.average) == ("lsgm", 3500, True)
    assert model.folder.stat().st_size < 3e6
    config = demo.get_config("shipped").to_dict()
    assert model.meta["config"] == restore.resolve(config)

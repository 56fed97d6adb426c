"""Published weights, imported and restored, give the published numbers.

Files are made from the fixtures' state dictionaries; what is compared has gone
through a file, a config, and a checkpoint of ours.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.interop import files
from lsgm.runs import exchange
from lsgm.runs.restore import restore
from tests.conftest import golden_dir
from tests.golden.files import base_of, fixtures_with, parameters, paths_with
from tests.golden.test_ncsnpp import assert_close
from tests.golden.vae_fixture import Golden, nchw, nhwc

QUICK = {"xla_backend_optimization_level": 0}
VARIANT = ("base_file", "args", "score_call0/mixed_out")


@functools.cache
def arrays(path):
    with np.load(path) as file:
        return dict(file)


def state(path, prefix):
    found = arrays(path).items()
    return {k.removeprefix(prefix): v for k, v in found if k.startswith(prefix)}


def words(path, key):
    return json.loads(str(arrays(path)[key]))


def runs(folder):
    """A base with both state dictionaries, and a variant with a run's arguments for
    it: the first of each base whose two networks are of one data set."""
    found = {}
    for variant in paths_with(folder, *VARIANT):
        base = base_of(variant, words(variant, "base_file"))
        sets = {words(base, f"{part}_config")["dataset"] for part in ("vae", "dae")}
        if len(sets) == 1:
            found.setdefault(base, variant)
    return [(f"{b.name}-{v.name}", (b, v)) for b, v in found.items()]


def run_of(base, variant):
    """The run that the two fixtures describe, with its arguments."""
    args = words(base, "dae_config") | words(base, "vae_config")
    return files.PublishedRun(
        vae=state(base, "vae_sd/"),
        prior=state(base, "dae_sd/"),
        average=None,
        args=args | words(variant, "args"),
        step=199,
    )


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.fixture(params=parameters(runs(golden_dir()), " and ".join(VARIANT)))
def pair(request):
    return request.param


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_score_prior(pair, suffix, tmp_path):
    """The mixed prediction of a restored prior; then back to published names."""
    base, variant = pair
    run = run_of(base, variant)
    files.write(tmp_path / f"run{suffix}", run)
    exchange.import_file(tmp_path / f"run{suffix}", tmp_path / "workdir")
    restored = restore(tmp_path / "workdir")
    assert (restored.stage, restored.step) == ("lsgm", 199)

    back = exchange.published_of(restored)
    assert_same(back.vae, {k: v for k, v in run.vae.items() if "num_batches" not in k})
    assert_same(back.prior, run.prior)
    assert {k: run.args[k] for k in back.args if "iw_sample" not in k} == {
        k: v for k, v in back.args.items() if "iw_sample" not in k
    }
    if suffix == ".npz":
        return
    call = {k: arrays(variant)[f"score_call0/{k}"] for k in ("z_t", "t", "mixed_out")}
    u, t = nhwc(call["z_t"]), jnp.asarray(call["t"])
    prior = restored.model.prior

    @functools.partial(jax.jit, compiler_options=QUICK)
    def predict(params, mutables):
        residual = prior.residual_fn(params, mutables)(u, t)
        return prior.sde.normal_eps(u, t) + residual

    predicted = predict(restored.params, restored.mutables)
    assert_close(nchw(predicted), call["mixed_out"])


@pytest.mark.parametrize("path", fixtures_with("sd/*", "noise/group0", "eval/kl"))
def test_vae(path, tmp_path):
    """A file of the first stage; the encoder and decoder of the restored VAE."""
    golden = Golden(path)
    run = files.PublishedRun(
        vae=golden.state(), prior=None, average=None, args=golden.json("config"), step=7
    )
    files.write(tmp_path / "vae.npz", run)
    exchange.import_file(tmp_path / "vae.npz", tmp_path / "workdir")
    restored = restore(tmp_path / "workdir")
    assert (restored.stage, restored.step) == ("vae", 7)
    assert restored.model.vae == golden.vae
    jax.tree.map(np.testing.assert_array_equal, restored.params["vae"], golden.params)
    jax.tree.map(
        np.testing.assert_array_equal,
        restored.mutables["vae"]["batch_stats"],
        golden.mutables["batch_stats"],
    )
    # Several published data sets have images of one shape.
    again = exchange.published_of(restored).args | {"dataset": ""}
    assert again == golden.json("config") | {"dataset": ""}
    if "eval/logits" not in golden:
        return

    @functools.partial(jax.jit, compiler_options=QUICK)
    def infer(params, mutables):
        model = restored.model.vae
        found = model.infer(params, mutables, golden.x, golden.noise, train=False)
        return found.z, found.out

    z, out = infer(restored.params["vae"], restored.mutables["vae"])
    for k, latent in enumerate(z):
        assert_close(nchw(latent), golden[f"eval/group{k}/latent"])
    logits = nhwc(golden["eval/logits"])
    assert_close(out, np.asarray(golden.inner(logits)))
